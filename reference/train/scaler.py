"""Training of latent up- and down-samplers for any VQ tokenizer and any images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mulo_sd.reference.images import pixels_from_images
from mulo_sd.reference.latent import LatentDownSampler, LatentScaler, LatentScalerConfig, LatentUpSampler
from mulo_sd.reference.tokenizer import ImageTokenizer
from mulo_sd.reference.train.devices import CPU, mixed_precision
from mulo_sd.reference.train.examples import Example, Examples, images_of
from mulo_sd.reference.train.pictures import save_grid
from mulo_sd.reference.train.scaler_losses import (
    ADVERSARIAL_WEIGHT,
    COMMITMENT_WEIGHT,
    PERCEPTUAL_WEIGHT,
    PatchDiscriminator,
    ScalerLoss,
    perceptual_distance,
    straight_through,
    token_loss,
)
from mulo_sd.reference.train.schedule import rate_at

PEAK_RATE = 2e-3
DISCRIMINATOR_RATE = 5e-4
ADVERSARY_FROM = 0.4  # of the steps: before, there is nothing worth telling apart
CORRUPTED_SHARE = 0.03  # of the tokens given: a drafter errs
CORRUPTION_NEIGHBOURS = 8
SHOWN = 6  # pictures of a sample


class ScalerTrainee:
    """A latent scaler in training.

    Args:
        is_up: An up-sampler, else a down-sampler.
        config: Its size.
        tokenizer: Shared by both grids; frozen.
        examples: Whose pictures it learns; their captions do not count.
        fine_sides: Of the finer grid, in cells; the steps take them in turn.
        loss: What to minimise.
        batch: Images a step.
        seed: Of weights, images and corruption.
        device: Where to compute.
    """

    def __init__(
        self,
        is_up: bool,
        config: LatentScalerConfig,
        tokenizer: ImageTokenizer,
        examples: Examples,
        fine_sides: tuple[int, ...],
        loss: ScalerLoss,
        batch: int,
        seed: int,
        device: torch.device = CPU,
    ) -> None:
        torch.manual_seed(seed)
        self.is_up, self.examples, self.fine_sides, self.device = is_up, examples, fine_sides, device
        self.kind, self.batch, self.seed = loss, batch, seed
        self.tokenizer = tokenizer.eval().requires_grad_(False).to(device)
        scaler = (LatentUpSampler if is_up else LatentDownSampler)(config, tokenizer.codebook)
        self.scaler: LatentScaler = scaler.to(device)
        self.optimizer = torch.optim.AdamW(self.scaler.parameters(), lr=PEAK_RATE, weight_decay=0.0, betas=(0.9, 0.98))
        self.discriminator = PatchDiscriminator().to(device)
        self.adversary = torch.optim.AdamW(self.discriminator.parameters(), lr=DISCRIMINATOR_RATE, betas=(0.5, 0.9))
        similar = self.scaler.codebook @ self.scaler.codebook.t()
        self.near = similar.topk(min(CORRUPTION_NEIGHBOURS, len(similar)), dim=1).indices

    def state_dict(self) -> dict[str, Any]:
        return {
            "scaler": self.scaler.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "adversary": self.adversary.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.scaler.load_state_dict(state["scaler"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.discriminator.load_state_dict(state["discriminator"])
        self.adversary.load_state_dict(state["adversary"])

    def _images(self, examples: Sequence[Example], side: int) -> Tensor:
        return images_of(examples, side * self.tokenizer.config.factor).to(self.device)

    def _sides(self, step: int) -> tuple[int, int]:
        """Return the sides of the grids from which and to which a step maps."""
        fine = self.fine_sides[step % len(self.fine_sides)]
        coarse = fine // self.scaler.config.scale_ratio
        return (coarse, fine) if self.is_up else (fine, coarse)

    @torch.no_grad()
    def _examples(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return tokens to map from Int[B, h, w], the images of the other grid, and their tokens."""
        given_side, wanted_side = self._sides(step)
        first = (self.seed << 40) + step * self.batch
        examples = [self.examples.training(first + index) for index in range(self.batch)]
        tokens = self.tokenizer.tokens_from_images(self._images(examples, given_side))
        wanted = self._images(examples, wanted_side)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        wrong = torch.rand(tokens.shape, generator=generator) < CORRUPTED_SHARE
        which = torch.randint(0, self.near.shape[1], tokens.shape, generator=generator).to(self.device)
        other = self.near[tokens].gather(-1, which[..., None])[..., 0]
        return torch.where(wrong.to(self.device), other, tokens), wanted, self.tokenizer.tokens_from_images(wanted)

    def step(self, step: int, steps: int) -> dict[str, float]:
        """Take one step; metrics: loss, share of the wanted tokens hit exactly, PSNR in dB where images are made."""
        for group in self.optimizer.param_groups:
            group["lr"] = PEAK_RATE * rate_at(step, steps)
        has_adversary = self.kind == "pixel-gan" and step >= ADVERSARY_FROM * steps
        tokens, images, wanted = self._examples(step)
        with mixed_precision(self.device):
            features = self.scaler.features(tokens)
        chosen = self.scaler.nearest_codes(features.detach())
        metrics = {"accuracy": float((chosen == wanted).float().mean())}
        if self.kind == "token":
            loss = token_loss(features, wanted, self.scaler.codebook)
        else:
            loss, decoded = self._image_loss(features, chosen, images)
            metrics["psnr_db"] = float(10 * torch.log10(4 / (decoded.detach() - images).square().mean()))
            if has_adversary:
                loss = loss - ADVERSARIAL_WEIGHT * self.discriminator(decoded).mean()
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        torch.nn.utils.clip_grad_norm_(self.scaler.parameters(), 1.0)
        self.optimizer.step()
        if has_adversary:
            self._train_adversary(images, decoded)
        return {"loss": float(loss.detach()), **metrics}

    def _image_loss(self, features: Tensor, chosen: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        codes, distance = straight_through(features, self.scaler.codebook, chosen)
        with mixed_precision(self.device):
            decoded = self.tokenizer.images_from_codes(codes).float()
            perceptual = perceptual_distance(self.tokenizer, decoded, images)
        squared = (decoded - images).square().mean()
        return squared + PERCEPTUAL_WEIGHT * perceptual.float() + COMMITMENT_WEIGHT * distance, decoded

    def _train_adversary(self, images: Tensor, decoded: Tensor) -> None:
        self.adversary.zero_grad()
        self.discriminator.loss(images, decoded.detach()).backward()  # type: ignore[no-untyped-call]  # as above
        self.adversary.step()

    @torch.no_grad()
    def draw(self, path: Path) -> None:
        """Draw held-out pictures above what the scaler makes of their tokens on the other grid."""
        given_side, wanted_side = self._sides(len(self.fine_sides) - 1)
        examples = [self.examples.held_out(index) for index in range(SHOWN)]
        tokens = self.tokenizer.tokens_from_images(self._images(examples, given_side))
        wanted = self._images(examples, wanted_side)
        made = torch.stack([self.scaler.tokens_from_tokens(item) for item in tokens])
        shown = torch.cat([wanted, self.tokenizer.images_from_tokens(made)])
        save_grid(pixels_from_images(shown).cpu().numpy(), SHOWN, path, magnify=max(1, 256 // wanted.shape[2]))
