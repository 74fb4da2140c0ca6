"""LlamaGen's VQ tokenizer (VQ-16 and VQ-8), under the published key names; Tar's AR-DTok shares it.

Unlike the demo's tokenizer it normalises over groups of channels and attends at its lowest resolution: a token depends
on the whole image.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mulo_sd.reference.checkpoints.files import arguments_of, filled, read_checkpoint, tensors_of
from mulo_sd.reference.tokenizer import ImageTokenizer
from mulo_sd.reference.weights import WeightsError, config_names, load_tokenizer

GROUPS, NORM_EPS = 32, 1e-6


@dataclass(frozen=True)
class VQConfig:
    """The size of a VQ tokenizer; every level but the last halves the resolution."""

    channels: int = 128
    multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)
    residual_blocks: int = 2
    z_channels: int = 256
    codes: int = 16384
    code_dim: int = 8

    @property
    def factor(self) -> int:
        """Pixels along a token's side."""
        return int(2 ** (len(self.multipliers) - 1))


VQ_16 = VQConfig()
VQ_8 = VQConfig(multipliers=(1, 2, 2, 4))
# A level that VQ-8 has not.
LAST_OF_VQ_16 = "encoder.conv_blocks.4."


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(GROUPS, channels, eps=NORM_EPS)


class ResidualBlock(nn.Module):
    """x + conv2(silu(norm2(conv1(silu(norm1(x)))))), with a 1 x 1 convolution where the width changes."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = _norm(before), nn.Conv2d(before, after, 3, padding=1)
        self.norm2, self.conv2 = _norm(after), nn.Conv2d(after, after, 3, padding=1)
        self.nin_shortcut = nn.Conv2d(before, after, 1) if before != after else None

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))
        return cast(Tensor, (x if self.nin_shortcut is None else self.nin_shortcut(x)) + h)


class AttentionBlock(nn.Module):
    """x + attention over all places, one head as wide as the image has channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _norm(channels)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        query, key, value = (part(h).flatten(2).transpose(1, 2) for part in (self.q, self.k, self.v))
        mixed = F.scaled_dot_product_attention(query[:, None], key[:, None], value[:, None])[:, 0]
        return cast(Tensor, x + self.proj_out(mixed.transpose(1, 2).reshape(x.shape)))


class Downsample(nn.Module):
    """A 3 x 3 convolution of stride 2; one row below and one column to the right are padded."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.conv(F.pad(x, (0, 1, 0, 1))))


class Upsample(nn.Module):
    """Each pixel four times, then a 3 x 3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest")))


class Level(nn.Module):
    """Residual blocks of one resolution, each followed by attention at the lowest, and the step to the next."""

    def __init__(self, before: int, after: int, blocks: int, attends: bool, step: nn.Module | None, name: str) -> None:
        super().__init__()
        self.res = nn.ModuleList(ResidualBlock(before if index == 0 else after, after) for index in range(blocks))
        self.attn = nn.ModuleList(AttentionBlock(after) for _ in range(blocks if attends else 0))
        self.step = name
        if step is not None:
            self.add_module(name, step)

    def forward(self, x: Tensor) -> Tensor:
        for index, block in enumerate(self.res):
            x = block(x)
            if len(self.attn):
                x = self.attn[index](x)
        step = self._modules.get(self.step)
        return x if step is None else cast(Tensor, step(x))


def _middle(channels: int) -> nn.ModuleList:
    return nn.ModuleList(
        (ResidualBlock(channels, channels), AttentionBlock(channels), ResidualBlock(channels, channels))
    )


class Encoder(nn.Module):
    """Float[B, 3, H*f, W*f] -> Float[B, z, H, W]."""

    def __init__(self, config: VQConfig) -> None:
        super().__init__()
        widths = [config.channels * multiplier for multiplier in config.multipliers]
        self.conv_in = nn.Conv2d(3, config.channels, 3, padding=1)
        self.conv_blocks = nn.ModuleList()
        for index, (before, after) in enumerate(zip([config.channels, *widths], widths, strict=False)):
            last = index == len(widths) - 1
            step = None if last else Downsample(after)
            self.conv_blocks.append(Level(before, after, config.residual_blocks, last, step, "downsample"))
        self.mid = _middle(widths[-1])
        self.norm_out = _norm(widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], config.z_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for block in (*self.conv_blocks, *self.mid):
            x = block(x)
        return cast(Tensor, self.conv_out(F.silu(self.norm_out(x))))


class Decoder(nn.Module):
    """Float[B, z, H, W] -> Float[B, 3, H*f, W*f]; a residual block more a level than the encoder."""

    def __init__(self, config: VQConfig) -> None:
        super().__init__()
        widths = [config.channels * multiplier for multiplier in reversed(config.multipliers)]
        self.conv_in = nn.Conv2d(config.z_channels, widths[0], 3, padding=1)
        self.mid = _middle(widths[0])
        self.conv_blocks = nn.ModuleList()
        for index, (before, after) in enumerate(zip([widths[0], *widths], widths, strict=False)):
            step = None if index == len(widths) - 1 else Upsample(after)
            self.conv_blocks.append(Level(before, after, config.residual_blocks + 1, index == 0, step, "upsample"))
        self.norm_out = _norm(widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for block in (*self.mid, *self.conv_blocks):
            x = block(x)
        return cast(Tensor, self.conv_out(F.silu(self.norm_out(x))))


class Quantizer(nn.Module):
    """The codebook, as the published file names it."""

    def __init__(self, config: VQConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.codes, config.code_dim)


class VQTokenizer(ImageTokenizer):
    """Encoder, codebook and decoder."""

    config: VQConfig

    def __init__(self, config: VQConfig = VQ_16) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.quantize = Quantizer(config)
        self.quant_conv = nn.Conv2d(config.z_channels, config.code_dim, 1)
        self.post_quant_conv = nn.Conv2d(config.code_dim, config.z_channels, 1)

    @property
    def codebook(self) -> Tensor:  # type: ignore[override]  # a part of it has the tensor, under the published name
        """Float[codes, code_dim], as the file has it: not normalised."""
        return self.quantize.embedding.weight

    def raw_features(self, images: Tensor) -> Tensor:
        """Return the features of images before they are normalised, Float[B, d, H, W]."""
        return cast(Tensor, self.quant_conv(self.encoder(images)))

    def features(self, images: Tensor) -> Tensor:
        """Return the normalised features of images, Float[B, H, W, d], from Float[B, 3, H*f, W*f] in [-1, 1]."""
        return F.normalize(self.raw_features(images).permute(0, 2, 3, 1).float(), dim=-1)

    def images_from_codes(self, codes: Tensor) -> Tensor:
        """Decode normalised code vectors, Float[B, H, W, d], to images, Float[B, 3, H*f, W*f], about in [-1, 1]."""
        return cast(Tensor, self.decoder(self.post_quant_conv(codes.permute(0, 3, 1, 2))))


def _config(tensors: dict[str, Tensor]) -> VQConfig:
    """Read the size of a tokenizer off its tensors; what is wrong with them shows when they are filled in."""

    def sizes(name: str, dimensions: int, default: tuple[int, ...]) -> tuple[int, ...]:
        tensor = tensors.get(name)
        return tuple(tensor.shape) if tensor is not None and tensor.ndim == dimensions else default

    levels = [name for name in tensors if name.startswith("encoder.conv_blocks.")]
    published = VQ_8 if levels and not any(name.startswith(LAST_OF_VQ_16) for name in levels) else VQ_16
    channels = sizes("encoder.conv_in.weight", 4, (published.channels,))[0]
    codes, code_dim = sizes("quantize.embedding.weight", 2, (published.codes, published.code_dim))
    z_channels = sizes("encoder.conv_out.weight", 4, (published.z_channels,))[0]
    if channels % GROUPS:
        channels = published.channels
    return replace(published, channels=channels, codes=codes, code_dim=code_dim, z_channels=z_channels)


def load_vq(path: Path, dtype: torch.dtype = torch.float32) -> VQTokenizer:
    """Load a published VQ tokenizer, such as vq_ds16_t2i.pt, in float32; its levels tell VQ-8 from VQ-16.

    Args:
        path: The file.
        dtype: The precision that the numbers must fit; they stay in float32.

    Raises:
        WeightsError: no such file, not a checkpoint, or weights of something else.
    """
    content = read_checkpoint(path)
    arguments, tensors = arguments_of(content) or {}, tensors_of(content, path)
    if arguments.get("codebook_l2_norm") is False:
        raise WeightsError(f"{path}: expected a codebook that is normalised (codebook_l2_norm), got one that is not")
    config = _config(tensors)
    return filled(lambda: VQTokenizer(config), tensors, path, strays=("quantize.codebook_used",), dtype=dtype)


def load_image_tokenizer(path: Path) -> ImageTokenizer:
    """Load a tokenizer that was saved with its configuration, which says whose it is: ours, or LlamaGen's.

    Raises:
        WeightsError: no such file, not safetensors, or weights of something else.
    """
    return load_vq(path) if VQConfig.__name__ in config_names(path) else load_tokenizer(path)
