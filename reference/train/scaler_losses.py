"""The losses of latent up- and down-samplers, as in the paper's ablation.

`token` is the cross-entropy of the image's own tokens on the other grid. `pixel` compares images through the frozen
VQ decoder: squared error plus a perceptual distance. The paper uses LPIPS; its weights are not at hand here, so
the distance is that of features of the VQ encoder at hand. `pixel-gan` adds a PatchGAN.
"""

from collections.abc import Sequence
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mulo_sd.reference.checkpoints.vq import VQTokenizer
from mulo_sd.reference.tokenizer import ImageTokenizer

ScalerLoss = Literal["token", "pixel", "pixel-gan"]
LOGIT_SCALE = 16.0  # similarities lie in -1..1
PERCEPTUAL_WEIGHT = 0.2
COMMITMENT_WEIGHT = 0.05
ADVERSARIAL_WEIGHT = 0.02


def token_loss(features: Tensor, tokens: Tensor, codebook: Tensor) -> Tensor:
    """Return the cross-entropy in nats of tokens Int[B, H, W] given features Float[B, H, W, d]."""
    logits = LOGIT_SCALE * features.reshape(-1, features.shape[-1]) @ codebook.t()
    return F.cross_entropy(logits, tokens.flatten())


def straight_through(features: Tensor, codebook: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Return the chosen codes with the features' gradient, and how far features are from them, 0..2."""
    codes = F.embedding(tokens, codebook)
    return features + (codes - features).detach(), 1 - (features * codes).sum(-1).mean()


def _depths(tokenizer: ImageTokenizer) -> tuple[Sequence[nn.Module], Sequence[nn.Module]]:
    """Return the layers of a VQ encoder in two parts, without the last ones, which make code vectors of features."""
    if isinstance(tokenizer, VQTokenizer):
        encoder = tokenizer.encoder
        levels = list(encoder.conv_blocks)
        half = len(levels) // 2
        return [encoder.conv_in, *levels[:half]], [*levels[half:], *encoder.mid]
    layers = list(cast(nn.Sequential, tokenizer.encoder))
    return layers[:3], layers[3:-1]


def perceptual_distance(tokenizer: ImageTokenizer, images: Tensor, others: Tensor) -> Tensor:
    """Return the distance of two batches of images in the VQ encoder's features at two depths.

    Each depth counts relative to the size of the features of `others`.
    """
    total = torch.zeros((), device=images.device)
    for depth in _depths(tokenizer):
        for layer in depth:
            images, others = layer(images), layer(others)
        total = total + (images - others).square().mean() / others.square().mean()
    return total


class PatchDiscriminator(nn.Module):
    """A PatchGAN: one logit for each patch of about 16 pixels, real against up-sampled."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 1, 3, 1, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.layers(images))

    def loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the hinge loss of telling real images from others."""
        return F.relu(1 - self(real)).mean() + F.relu(1 + self(fake.detach())).mean()
