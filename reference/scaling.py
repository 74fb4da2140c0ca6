"""Pixel-space up- and down-sampling of token rows: decode, resize, encode (SCALE-1, SCALE-2)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mulo_sd.reference.tokenizer import ImageTokenizer

UP_FILTERS = ("bicubic", "bilinear", "nearest")
DOWN_FILTERS = ("area", "bicubic")


def enlarge(images: Tensor, scale: int, resize_filter: str) -> Tensor:
    """Enlarge images by a whole number, Float[B, 3, h, w] -> Float[B, 3, h * scale, w * scale].

    Raises:
        ValueError: no such filter.
    """
    if resize_filter not in UP_FILTERS:
        raise ValueError(f"up_sampler: expected one of {', '.join(UP_FILTERS)}, got {resize_filter!r}")
    if resize_filter == "nearest":
        return F.interpolate(images, scale_factor=float(scale), mode="nearest")
    return F.interpolate(images, scale_factor=float(scale), mode=resize_filter, align_corners=False).clamp(-1, 1)


def shrink(images: Tensor, scale: int, resize_filter: str) -> Tensor:
    """Shrink images by a whole number, Float[B, 3, h, w] -> Float[B, 3, h / scale, w / scale].

    "area" is the mean of scale x scale pixels, "bicubic" a cubic kernel stretched over 4 * scale pixels.

    Raises:
        ValueError: no such filter.
    """
    if resize_filter not in DOWN_FILTERS:
        raise ValueError(f"down_sampler: expected one of {', '.join(DOWN_FILTERS)}, got {resize_filter!r}")
    if resize_filter == "area":
        return F.avg_pool2d(images, scale)
    before, weights = cubic_kernel(scale)
    kernel = torch.tensor(weights, dtype=images.dtype, device=images.device)
    after = len(weights) - scale - before
    channels = images.shape[1]
    padded = F.pad(images, (before, after, before, after), mode="replicate")
    square = torch.outer(kernel, kernel).expand(channels, 1, -1, -1)
    return F.conv2d(padded, square, stride=scale, groups=channels).clamp(-1, 1)


def cubic_kernel(scale: int) -> tuple[int, list[float]]:
    """Return how many pixels before the first a shrinking cubic kernel reaches, and its weights, which sum to 1."""
    centre = (scale - 1) / 2
    first, last = math.ceil(centre - 2 * scale), math.floor(centre + 2 * scale)

    def cubic(x: float) -> float:  # Keys' kernel, a = -1/2
        x = abs(x)
        if x <= 1:
            return 1.5 * x**3 - 2.5 * x**2 + 1
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0

    values = [cubic((tap - centre) / scale) for tap in range(first, last + 1)]
    return -first, [value / sum(values) for value in values]


def up_sample(tokenizer: ImageTokenizer, tokens: Tensor, scale_ratio: int, resize_filter: str = "bicubic") -> Tensor:
    """Return U_r of the low-resolution rows known so far (SCALE-1).

    The result of a row depends on the rows next to it: the last rows that come out see an edge where later
    rows will be, which is what `look_ahead` is for.

    Args:
        tokenizer: Shared by all resolutions.
        tokens: Int[rows, w].
        scale_ratio: r.
        resize_filter: "bicubic", "bilinear" or "nearest".

    Returns:
        Int[rows * r, w * r].

    Raises:
        ValueError: no such filter.
    """
    images = tokenizer.images_from_tokens(tokens[None])
    return tokenizer.tokens_from_images(enlarge(images, scale_ratio, resize_filter))[0]


def down_sample(tokenizer: ImageTokenizer, tokens: Tensor, scale_ratio: int, resize_filter: str = "area") -> Tensor:
    """Return D_r of the verified high-resolution rows (SCALE-2).

    Args:
        tokenizer: Shared by all resolutions.
        tokens: Int[rows, W]; rows is a multiple of r.
        scale_ratio: r.
        resize_filter: "area" or "bicubic".

    Returns:
        Int[rows / r, W / r].

    Raises:
        ValueError: no such filter.
    """
    images = tokenizer.images_from_tokens(tokens[None])
    return tokenizer.tokens_from_images(shrink(images, scale_ratio, resize_filter))[0]
