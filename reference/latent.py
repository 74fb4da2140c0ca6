"""Latent up- and down-samplers: trained networks from tokens to tokens of another grid (SCALE-1, SCALE-2).

The paper's latent up-sampler: masked row-causal convolutions and a pixel-shuffle, tied to the VQ model. An
output row depends on no token row below the one that it comes from.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mulo_sd.reference.codebook import nearest_codes


@dataclass(frozen=True)
class LatentScalerConfig:
    """The size of a latent up- or down-sampler.

    `rows_above` is how many of a convolution's three rows lie above: 2 is row-causal, 1 lets a row see the one below.
    """

    scale_ratio: int
    codes: int = 1024
    code_dim: int = 16
    width: int = 96
    coarse_blocks: int = 3
    fine_blocks: int = 2
    fine_width: int = 64
    rows_above: int = 2


class RowCausalConv(nn.Module):
    """A 3 x 3 convolution of which row i sees rows i - rows_above to i + 2 - rows_above."""

    def __init__(self, width: int, rows_above: int) -> None:
        super().__init__()
        self.padding = (1, 1, rows_above, 2 - rows_above)
        self.conv = nn.Conv2d(width, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.conv(F.pad(x, self.padding)))


class Block(nn.Module):
    """x + conv1x1(silu(conv3x3(silu(x)))), row-causal."""

    def __init__(self, width: int, rows_above: int) -> None:
        super().__init__()
        self.spread = RowCausalConv(width, rows_above)
        self.mix = nn.Conv2d(width, width, 1)
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(cast(Tensor, self.mix.bias))

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, x + self.mix(F.silu(self.spread(F.silu(x)))))


class LatentScaler(nn.Module, ABC):
    """What up- and down-sampler share: code vectors in, features out, and the nearest code of each."""

    codebook: Tensor

    def __init__(self, config: LatentScalerConfig, codebook: Tensor | None = None) -> None:
        """Make an untrained one.

        Args:
            config: Its size.
            codebook: Float[codes, code_dim], of the tokenizer that it serves; None to load one.
        """
        super().__init__()
        self.config = config
        empty = torch.zeros(config.codes, config.code_dim)
        self.register_buffer("codebook", empty if codebook is None else F.normalize(codebook.float(), dim=-1))

    def vectors(self, tokens: Tensor) -> Tensor:
        """Return the code vectors of tokens, Int[B, h, w] -> Float[B, d, h, w]."""
        return F.embedding(tokens, self.codebook).permute(0, 3, 1, 2)

    def nearest_codes(self, features: Tensor) -> Tensor:
        """Return the nearest code of each feature, Float[B, H, W, d] -> Int[B, H, W]; ties go to the lower code."""
        return nearest_codes(features.float(), self.codebook.float())

    @abstractmethod
    def features(self, tokens: Tensor) -> Tensor:
        """Return normalised features of the other grid, Float[B, H, W, d], from tokens Int[B, h, w]."""

    def tokens_from_tokens(self, tokens: Tensor) -> Tensor:
        """Return the tokens of the other grid, Int[h, w] -> Int[H, W]."""
        return self.nearest_codes(self.features(tokens[None]))[0]


def _blocks(count: int, width: int, rows_above: int) -> nn.Sequential:
    return nn.Sequential(*(Block(width, rows_above) for _ in range(count)))


class LatentUpSampler(LatentScaler):
    """U_r: tokens Int[h, w] -> Int[h * r, w * r]."""

    def __init__(self, config: LatentScalerConfig, codebook: Tensor | None = None) -> None:
        super().__init__(config, codebook)
        ratio = config.scale_ratio
        self.stem = nn.Conv2d(config.code_dim, config.width, 1)
        self.coarse = _blocks(config.coarse_blocks, config.width, config.rows_above)
        self.spread = nn.Conv2d(config.width, config.fine_width * ratio**2, 1)
        self.fine = _blocks(config.fine_blocks, config.fine_width, config.rows_above)
        self.head = nn.Conv2d(config.fine_width, config.code_dim, 1)

    def features(self, tokens: Tensor) -> Tensor:
        """Return normalised features of the finer grid."""
        ratio, vectors = self.config.scale_ratio, self.vectors(tokens)
        fine = F.pixel_shuffle(self.spread(F.silu(self.coarse(self.stem(vectors)))), ratio)
        own = F.interpolate(vectors, scale_factor=float(ratio), mode="nearest")
        x = own + self.head(F.silu(self.fine(fine)))
        return F.normalize(x.permute(0, 2, 3, 1).float(), dim=-1)


class LatentDownSampler(LatentScaler):
    """D_r: tokens Int[h * r, w * r] -> Int[h, w]."""

    def __init__(self, config: LatentScalerConfig, codebook: Tensor | None = None) -> None:
        super().__init__(config, codebook)
        ratio = config.scale_ratio
        self.stem = nn.Conv2d(config.code_dim, config.fine_width, 1)
        self.fine = _blocks(config.fine_blocks, config.fine_width, config.rows_above)
        self.gather = nn.Conv2d(config.fine_width * ratio**2, config.width, 1)
        self.coarse = _blocks(config.coarse_blocks, config.width, config.rows_above)
        self.head = nn.Conv2d(config.width, config.code_dim, 1)

    def features(self, tokens: Tensor) -> Tensor:
        """Return normalised features of the coarser grid."""
        ratio, vectors = self.config.scale_ratio, self.vectors(tokens)
        coarse = self.gather(F.pixel_unshuffle(F.silu(self.fine(self.stem(vectors))), ratio))
        x = F.avg_pool2d(vectors, ratio) + self.head(F.silu(self.coarse(coarse)))
        return F.normalize(x.permute(0, 2, 3, 1).float(), dim=-1)
