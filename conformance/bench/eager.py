"""Autoregressive decoding as LlamaGen's published code does it: what the engine's speed is compared with.

Its choices are kept, fast or not: keys and values of the full length from the start, a Boolean mask over all of it,
attention by PyTorch's plain formula (the published loop allows no fused kernel), a kernel for every operation, guidance
as a batch of two, a token drawn after every pass from top-k logits. Rewritten over `reference.transformer`; the weights
are the shape's.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from mulo_sd.engines.condition import Condition
from mulo_sd.engines.settings import Settings
from mulo_sd.reference.images import pixels_from_images
from mulo_sd.reference.models import Models
from mulo_sd.reference.transformer import Transformer, rotate_pairs


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate in float32, and return the precision of the input."""
    return rotate_pairs(x.float(), cos.float(), sin.float()).to(x.dtype)


class StaticCache:
    """Keys and values of the full length, written by position."""

    def __init__(self, model: Transformer, batch: int) -> None:
        """Make it, with the mask of every position: Bool[sequence, sequence], itself and what is before.

        Args:
            model: Whose sizes, precision and device it has.
            batch: Rows.
        """
        config, weight = model.config, model.output.weight
        length = config.sequence_length
        shape = (config.layers, batch, config.heads, length, config.head_dim)
        self.keys = torch.zeros(shape, dtype=weight.dtype, device=weight.device)
        self.values = torch.zeros_like(self.keys)
        self.mask = torch.tril(torch.ones(length, length, dtype=torch.bool, device=weight.device))

    def attend(self, positions: Tensor) -> Callable[[int, Tensor, Tensor, Tensor], Tensor]:
        """Return the attention of a pass at `positions`, Int[T]."""
        mask = self.mask[positions]

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            self.keys[layer, :, :, positions] = key
            self.values[layer, :, :, positions] = value
            with sdpa_kernel(SDPBackend.MATH):
                return F.scaled_dot_product_attention(query, self.keys[layer], self.values[layer], attn_mask=mask)

        return attend


def sample_top_k(logits: Tensor, settings: Settings, generator: torch.Generator) -> Tensor:
    """Draw a token a row from Float[B, V] by temperature and top-k, Int[B, 1]."""
    logits = logits.float() / max(settings.temperature, 1e-5)
    if settings.top_k > 0:
        smallest = torch.topk(logits, min(settings.top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    return torch.multinomial(F.softmax(logits, dim=-1), 1, generator=generator)


@dataclass(frozen=True)
class EagerPublished:
    """Draws with a shape's target alone."""

    models: Models

    @torch.inference_mode()
    def draw(
        self, condition: Condition, settings: Settings, seed: int, advance: Callable[[], None] = lambda: None
    ) -> tuple[NDArray[np.uint8], float, int]:
        """Draw an image; return pixels UInt8[H, W, 3], seconds from condition to pixels, and passes.

        Args:
            condition: All of its prefix is shown.
            settings: Guidance, temperature and top-k.
            seed: Of the generator.
            advance: Told after every token.
        """
        model = self.models.target
        config, device = model.config, model.output.weight.device
        generator = torch.Generator(device).manual_seed(seed)
        null = model.null_condition()
        started = time.perf_counter()
        cond = torch.from_numpy(condition.cond).to(device)
        guided = settings.guidance_scale != 1 and null is not None
        rows = torch.stack([cond, null.to(device, cond.dtype)]) if guided and null is not None else cond[None]
        cache = StaticCache(model, len(rows))

        def step(embeddings: Tensor, positions: Tensor) -> Tensor:
            spread = positions[None].expand(len(embeddings), -1)
            logits = model(embeddings, spread, cache.attend(positions), _rotate)[:, -1]
            if guided:
                logits = logits[1:] + (logits[:1] - logits[1:]) * settings.guidance_scale
            return sample_top_k(logits, settings, generator)

        positions = torch.arange(config.prefix_length, device=device)
        token = step(model.prefix_embeddings(rows).to(model.output.weight.dtype), positions)
        tokens = [token]
        for number in range(1, config.grid_height * config.grid_width):
            at = torch.full((1,), config.prefix_length + number - 1, device=device)
            token = step(model.token_embeddings(token.expand(len(rows), 1)), at)
            tokens.append(token)
            advance()
        grid = torch.cat(tokens, dim=1).reshape(1, config.grid_height, config.grid_width)
        images = self.models.tokenizer.images_from_tokens(grid)
        # Copied to the host: all work on the device is done by then.
        pixels: NDArray[np.uint8] = pixels_from_images(images)[0].cpu().numpy()
        return pixels, time.perf_counter() - started, len(tokens)
