"""Training of the VQ tokenizer on rendered scenes at all three sizes."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mulo_sd.reference.demo.scenes import HELD_OUT_SPLIT, scene
from mulo_sd.reference.demo.train.pictures import save_grid
from mulo_sd.reference.demo.train.schedule import rate_at
from mulo_sd.reference.images import images_from_pixels, pixels_from_images
from mulo_sd.reference.tokenizer import Tokenizer, TokenizerConfig

# (pixels, images in the batch): 4,096 tokens a step whatever the size.
BATCHES = ((128, 4), (64, 16), (128, 4), (32, 64))
PEAK_RATE = 2e-3
COMMITMENT = 0.25
DECAY = 0.99
DEAD_BELOW = 0.5  # a code used less often than this a step is dead
RESTART_EVERY = 20


class TokenizerTrainee:
    """A tokenizer whose codebook follows its features by exponential moving averages."""

    def __init__(self, config: TokenizerConfig, seed: int) -> None:
        torch.manual_seed(seed)
        self.seed = seed
        self.tokenizer = Tokenizer(config)
        self.optimizer = torch.optim.AdamW(self.tokenizer.parameters(), lr=PEAK_RATE, weight_decay=0.0)
        self.counts = torch.ones(config.codes)
        self.sums = self.tokenizer.codebook.clone()

    def state_dict(self) -> dict[str, Any]:
        return {
            "tokenizer": self.tokenizer.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "counts": self.counts,
            "sums": self.sums,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.tokenizer.load_state_dict(state["tokenizer"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.counts, self.sums = state["counts"], state["sums"]

    def _batch(self, step: int) -> Tensor:
        size, count = BATCHES[step % len(BATCHES)]
        first = (self.seed << 40) + step * 128
        pixels = np.stack([scene(first + index).render(size) for index in range(count)])
        return images_from_pixels(torch.from_numpy(pixels))

    @torch.no_grad()
    def _follow(self, features: Tensor, tokens: Tensor, errors: Tensor, step: int, steps: int) -> None:
        """Move the codes towards the mean of their features; in the first 60%, give dead codes new places.

        A new place is a feature drawn with probability proportional to its token's squared error: plain
        background is most of every image, and uniform draws would spend the codes on it.
        """
        flat, ids = features.reshape(-1, features.shape[-1]), tokens.flatten()
        used = torch.bincount(ids, minlength=len(self.counts)).float()
        sums = torch.zeros_like(self.sums).index_add_(0, ids, flat)
        self.counts.lerp_(used, 1 - DECAY)
        self.sums.lerp_(sums, 1 - DECAY)
        if step % RESTART_EVERY == 0 and step < steps * 0.6:
            dead = (self.counts < DEAD_BELOW).nonzero().flatten()
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
            chosen = torch.multinomial(errors.flatten(), len(dead), generator=generator) if len(dead) else dead
            self.sums[dead], self.counts[dead] = flat[chosen], 1.0
        self.tokenizer.codebook.copy_(F.normalize(self.sums / self.counts[:, None], dim=-1))

    def step(self, step: int, steps: int) -> dict[str, float]:
        """Take one step; metrics: loss, PSNR in dB, share of codes in use."""
        for group in self.optimizer.param_groups:
            group["lr"] = PEAK_RATE * rate_at(step, steps)
        images = self._batch(step)
        with torch.autocast("cpu", torch.bfloat16):
            features = self.tokenizer.features(images)
            tokens = self.tokenizer.codes_from_features(features.detach())
            codes = F.embedding(tokens, self.tokenizer.codebook)
            decoded = self.tokenizer.images_from_codes(features + (codes - features).detach()).float()
        squared = F.mse_loss(decoded, images)
        commitment = 1 - (features * codes.detach()).sum(-1).mean()
        loss = squared + 0.1 * F.l1_loss(decoded, images) + COMMITMENT * 0.1 * commitment
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        torch.nn.utils.clip_grad_norm_(self.tokenizer.parameters(), 1.0)
        self.optimizer.step()
        errors = F.avg_pool2d((decoded.detach() - images).square().mean(dim=1), self.tokenizer.config.factor)
        self._follow(features.detach(), tokens, errors, step, steps)
        return {
            "loss": float(loss.detach()),
            "psnr_db": float(10 * torch.log10(4 / squared.detach())),
            "codes_used": float(torch.unique(tokens).numel()),
        }

    @torch.no_grad()
    def draw(self, path: Path) -> None:
        """Draw held-out scenes above their reconstructions."""
        pixels = np.stack([scene(index, HELD_OUT_SPLIT).render(128) for index in range(8)])
        images = images_from_pixels(torch.from_numpy(pixels))
        decoded = self.tokenizer.images_from_tokens(self.tokenizer.tokens_from_images(images))
        save_grid(np.concatenate([pixels, pixels_from_images(decoded).numpy()]), 8, path, magnify=2)
