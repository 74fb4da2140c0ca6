"""The VQ tokenizer: images to grids of code indices and back.

A PixelUnshuffle stem, then residual blocks at token resolution without any normalisation, so that a
token depends on its surroundings only: the rows of a partial image are those of the whole image,
but for the few that see its last row. Codes and features are compared after L2-normalisation.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mulo_sd.reference.codebook import nearest_codes


@dataclass(frozen=True)
class TokenizerConfig:
    """The size of a tokenizer; `factor` pixels along a side make one token."""

    codes: int = 1024
    code_dim: int = 16
    width: int = 128
    encoder_blocks: int = 2
    decoder_blocks: int = 3
    factor: int = 4


class ImageTokenizerConfig(Protocol):
    """What every tokenizer's configuration tells."""

    @property
    def codes(self) -> int: ...

    @property
    def code_dim(self) -> int: ...

    @property
    def factor(self) -> int:
        """Pixels along a token's side."""


class ImageTokenizer(nn.Module, ABC):
    """Images to grids of codes and back: the demo's tokenizer, or a published one."""

    config: ImageTokenizerConfig
    codebook: Tensor  # Float[codes, code_dim]; compared and decoded after normalisation

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """Return the normalised features of images, Float[B, H, W, d], from Float[B, 3, H*f, W*f] in [-1, 1]."""

    @abstractmethod
    def images_from_codes(self, codes: Tensor) -> Tensor:
        """Decode code vectors, Float[B, H, W, d], to images, Float[B, 3, H*f, W*f], about in [-1, 1]."""

    def codes_from_features(self, features: Tensor) -> Tensor:
        """Return the nearest code of each feature, Int[B, H, W]; ties go to the lower code."""
        return nearest_codes(features, F.normalize(self.codebook.float(), dim=-1))

    def tokens_from_images(self, images: Tensor) -> Tensor:
        """Encode images, Float[B, 3, H*f, W*f] in [-1, 1], to tokens, Int[B, H, W]."""
        return self.codes_from_features(self.features(images))

    def images_from_tokens(self, tokens: Tensor) -> Tensor:
        """Decode tokens, Int[B, H, W], to images, Float[B, 3, H*f, W*f], clamped to [-1, 1]."""
        # In float32: normalisation's epsilon is 0 in half precision.
        codes = F.normalize(F.embedding(tokens, self.codebook).float(), dim=-1).to(self.codebook.dtype)
        return self.images_from_codes(codes).clamp(-1, 1)


class ResidualBlock(nn.Module):
    """x + conv1x1(silu(conv3x3(silu(x))))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.spread = nn.Conv2d(width, width, 3, padding=1)
        self.mix = nn.Conv2d(width, width, 1)
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(cast(Tensor, self.mix.bias))

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, x + self.mix(F.silu(self.spread(F.silu(x)))))


class Tokenizer(ImageTokenizer):
    """Encoder, codebook and decoder."""

    config: TokenizerConfig

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        stem = 3 * config.factor**2
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(config.factor),
            nn.Conv2d(stem, config.width, 1),
            *(ResidualBlock(config.width) for _ in range(config.encoder_blocks)),
            nn.SiLU(),
            nn.Conv2d(config.width, config.code_dim, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(config.code_dim, config.width, 1),
            *(ResidualBlock(config.width) for _ in range(config.decoder_blocks)),
            nn.SiLU(),
            nn.Conv2d(config.width, stem, 1),
            nn.PixelShuffle(config.factor),
        )
        self.register_buffer("codebook", F.normalize(torch.randn(config.codes, config.code_dim), dim=-1))

    def features(self, images: Tensor) -> Tensor:
        """Return the normalised features of images, Float[B, H, W, d], from Float[B, 3, H*f, W*f] in [-1, 1]."""
        return F.normalize(self.encoder(images).permute(0, 2, 3, 1).float(), dim=-1)

    def images_from_codes(self, codes: Tensor) -> Tensor:
        """Decode code vectors, Float[B, H, W, d], to images, Float[B, 3, H*f, W*f], about in [-1, 1]."""
        return cast(Tensor, self.decoder(codes.permute(0, 3, 1, 2)))
