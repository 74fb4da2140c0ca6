"""Training of the VQ tokenizer on pictures at the sizes of all grids."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mulo_sd.reference.images import pixels_from_images
from mulo_sd.reference.tokenizer import Tokenizer, TokenizerConfig
from mulo_sd.reference.train.devices import mixed_precision
from mulo_sd.reference.train.examples import Examples, images_of
from mulo_sd.reference.train.pictures import save_grid
from mulo_sd.reference.train.schedule import rate_at

STEP_TOKENS = 4096  # of a step, whatever the size of its pictures
SPACING = 128  # numbers from the first picture of a step to the next step's, at least
PEAK_RATE = 2e-3
COMMITMENT = 0.25
DECAY = 0.99
DEAD_BELOW = 0.5  # a code used less often than this a step is dead
RESTART_EVERY = 20
SHOWN = 8  # pictures of a sample


class TokenizerTrainee:
    """A tokenizer whose codebook follows its features by exponential moving averages.

    Args:
        config: Its size.
        examples: Whose pictures it learns.
        sides: Of the grids, in cells, the finest first; every second step draws for the finest.
        seed: Of weights and examples.
        device: Where to compute.
    """

    def __init__(
        self, config: TokenizerConfig, examples: Examples, sides: tuple[int, ...], seed: int, device: torch.device
    ) -> None:
        torch.manual_seed(seed)
        self.seed, self.examples, self.device = seed, examples, device
        finest, others = sides[0], sides[1:]
        self.sides = [side for other in others for side in (finest, other)] or [finest]
        self.tokenizer = Tokenizer(config).to(device)
        self.optimizer = torch.optim.AdamW(self.tokenizer.parameters(), lr=PEAK_RATE, weight_decay=0.0)
        self.counts = torch.ones(config.codes, device=device)
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
        self.counts, self.sums = state["counts"].to(self.device), state["sums"].to(self.device)

    def _batch(self, step: int) -> Tensor:
        side = self.sides[step % len(self.sides)]
        count = max(1, STEP_TOKENS // side**2)
        first = (self.seed << 40) + step * max(SPACING, STEP_TOKENS // min(self.sides) ** 2)
        examples = [self.examples.training(first + index) for index in range(count)]
        return images_of(examples, side * self.tokenizer.config.factor).to(self.device)

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
            # As many as there are features, at most: each is drawn once.
            dead = dead[: len(flat)]
            if len(dead):
                chosen = torch.multinomial(errors.flatten().cpu() + 1e-12, len(dead), generator=generator)
                self.sums[dead], self.counts[dead] = flat[chosen.to(flat.device)], 1.0
        self.tokenizer.codebook.copy_(F.normalize(self.sums / self.counts[:, None], dim=-1))

    def step(self, step: int, steps: int) -> dict[str, float]:
        """Take one step; metrics: loss, PSNR in dB, share of codes in use."""
        for group in self.optimizer.param_groups:
            group["lr"] = PEAK_RATE * rate_at(step, steps)
        images = self._batch(step)
        with mixed_precision(self.device):
            features = self.tokenizer.features(images)
            tokens = self.tokenizer.codes_from_features(features.detach())
            codes = F.embedding(tokens, self.tokenizer.codebook)
            decoded = self.tokenizer.images_from_codes(features + (codes - features).detach()).float()
        squared = F.mse_loss(decoded, images)
        commitment = 1 - (features * codes.detach()).sum(-1).mean()
        loss = squared + 0.1 * F.l1_loss(decoded, images) + COMMITMENT * 0.1 * commitment
        if not bool(torch.isfinite(loss)):  # the run ends with its next row; there is nothing to learn from
            return dict.fromkeys(("loss", "psnr_db", "codes_used"), float("nan"))
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
        """Draw held-out pictures above their reconstructions."""
        size = max(self.sides) * self.tokenizer.config.factor
        images = images_of([self.examples.held_out(index) for index in range(SHOWN)], size).to(self.device)
        decoded = self.tokenizer.images_from_tokens(self.tokenizer.tokens_from_images(images))
        pixels = pixels_from_images(torch.cat([images, decoded]).cpu()).numpy()
        save_grid(np.asarray(pixels), SHOWN, path, magnify=max(1, 256 // size))
