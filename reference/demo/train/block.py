"""Training of the block drafter: to draft 25 tokens after any token of an image, in one pass."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mulo_sd.reference.block import block_config, mask_code
from mulo_sd.reference.demo.scenes import scene
from mulo_sd.reference.demo.train.examples import scene_prefixes, scene_tokens
from mulo_sd.reference.demo.train.optimizers import Optimizers
from mulo_sd.reference.tokenizer import Tokenizer
from mulo_sd.reference.transformer import Attend, Transformer, TransformerConfig
from mulo_sd.reference.weights import save_weights

CONDITION_DROPOUT = 0.1
BLOCK = 25  # tokens that a pass drafts


class BlockTrainee:
    """A block drafter in training; it begins with the target's embeddings, output and outermost layers."""

    def __init__(self, target: Transformer, tokenizer: Tokenizer, seed: int, batch: int, matrix_rate: float) -> None:
        torch.manual_seed(seed)
        self.tokenizer = tokenizer.eval()
        self.seed, self.batch = seed, batch
        self.model = Transformer(block_config(target.config))
        self._begin_with(target)
        matrices = [weight for weight in self.model.layers.parameters() if weight.ndim == 2]
        chosen = {id(weight) for weight in matrices}
        rest = [weight for weight in self.model.parameters() if id(weight) not in chosen]
        self.optimizers = Optimizers(matrices, rest, matrix_rate)

    @torch.no_grad()
    def _begin_with(self, target: Transformer) -> None:
        ours, theirs = self.model.config, target.config
        tensors = {name: value for name, value in target.state_dict().items() if not name.startswith("layers.")}
        for name, row in (("tok_embeddings.weight", "mean"), ("output.weight", "zero")):
            weight = tensors[name]
            extra = weight.mean(0, keepdim=True) if row == "mean" else torch.zeros(1, weight.shape[1])
            tensors[name] = torch.cat([weight, extra])
        state = target.state_dict()
        for layer in range(ours.layers):
            taken = layer * (theirs.layers - 1) // max(1, ours.layers - 1)
            start = f"layers.{taken}."
            tensors |= {
                f"layers.{layer}.{name.removeprefix(start)}": value
                for name, value in state.items()
                if name.startswith(start)
            }
        self.model.load_state_dict(tensors)

    def state_dict(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "optimizers": self.optimizers.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizers.load_state_dict(state["optimizers"])

    def _batch(self, step: int) -> tuple[Tensor, Tensor, int]:
        """Return prefixes Int[b, P, fields], tokens Int[b, cells] and the cell at which the first block begins."""
        first = (self.seed << 40) + step * self.batch
        scenes = [scene(first + index) for index in range(self.batch)]
        rng = np.random.default_rng([self.seed, step, 0x424C4F43])
        dropped = rng.random(self.batch) < CONDITION_DROPOUT
        with torch.no_grad():
            tokens = scene_tokens(self.tokenizer, scenes, self.model.config.grid_height).flatten(1)
        return scene_prefixes(scenes, dropped), tokens, int(rng.integers(BLOCK))

    def step(self, step: int, steps: int) -> dict[str, float]:
        """Take one step; metrics: loss in nats a token, share of tokens drafted exactly, next and in a block."""
        prefixes, tokens, offset = self._batch(step)
        config = self.model.config
        starts = range(config.prefix_length - 1 + offset, config.sequence_length - 2, BLOCK)
        masks = torch.tensor(
            [place for start in starts for place in range(start + 1, min(start + BLOCK, config.sequence_length - 1))]
        )
        owners = torch.tensor(
            [start for start in starts for _ in range(start + 1, min(start + BLOCK, config.sequence_length - 1))]
        )
        positions = torch.cat([torch.arange(config.sequence_length - 1), masks])
        with torch.autocast("cpu", torch.bfloat16):
            fed = torch.cat([tokens[:, :-1], torch.full((len(tokens), len(masks)), mask_code(config))], dim=1)
            embeddings = torch.cat([self.model.prefix_embeddings(prefixes), self.model.token_embeddings(fed)], dim=1)
            logits = self.model(
                embeddings,
                positions[None].expand(len(tokens), -1),
                block_attend(masks, owners, config.sequence_length - 1),
            )
        counted = logits[:, config.prefix_length - 1 :, : config.vocabulary - 1].float()
        predicted = tokens[:, positions[config.prefix_length - 1 :] + 1 - config.prefix_length]
        loss = F.cross_entropy(counted.flatten(0, 1), predicted.flatten())
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        self.optimizers.step(step, steps)
        right = (counted.detach().argmax(-1) == predicted).float()
        cells = tokens.shape[1]
        return {
            "loss": float(loss.detach()),
            "next_exact": float(right[:, :cells].mean()),
            "block_exact": float(right[:, cells:].mean()),
        }

    @property
    def config(self) -> TransformerConfig:
        return self.model.config

    def save(self, path: Path) -> None:
        """Write the drafter's weights."""
        save_weights(self.model, self.model.config, path)

    def draw(self, path: Path) -> None:
        """Draw nothing: a block drafter makes no picture of its own."""


def block_attend(masks: Tensor, owners: Tensor, decided: int) -> Attend:
    """Return the attention of a pass that feeds a whole sequence and then the masks of many blocks.

    Args:
        masks: Int[m], the positions of the masks.
        owners: Int[m], the position of the last decided token that each mask's block follows.
        decided: How many positions come first, fed as they are.
    """
    count = decided + len(masks)
    visible = torch.zeros(count, count, dtype=torch.bool)
    visible[:decided, :decided] = torch.ones(decided, decided, dtype=torch.bool).tril()
    visible[decided:, :decided] = torch.arange(decided) <= owners[:, None]
    visible[decided:, decided:] = (owners[:, None] == owners) & (masks <= masks[:, None])

    def attend(_layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=visible)

    return attend
