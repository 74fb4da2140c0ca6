"""Pixel-space up- and down-sampling of token rows: decode, resize, encode (SCALE-1, SCALE-2)."""

import torch.nn.functional as F
from torch import Tensor

from reference.tokenizer import Tokenizer


def resize(images: Tensor, scale: int, up: bool) -> Tensor:
    """Enlarge (bicubic) or shrink (mean of scale x scale pixels) images by a whole number, Float[B, 3, h, w]."""
    if up:
        return F.interpolate(images, scale_factor=float(scale), mode="bicubic", align_corners=False).clamp(-1, 1)
    return F.avg_pool2d(images, scale)


def up_sample(tokenizer: Tokenizer, tokens: Tensor, scale_ratio: int, resize_filter: str = "") -> Tensor:
    """Return U_r of the low-resolution rows known so far (SCALE-1).

    The result of a row depends on the rows next to it: the last rows that come out see an edge where later
    rows will be, which is what `look_ahead` is for.

    Args:
        tokenizer: Shared by both resolutions.
        tokens: Int[rows, w].
        scale_ratio: r.

    Returns:
        Int[rows * r, w * r].
    """
    images = tokenizer.images_from_tokens(tokens[None])
    return tokenizer.tokens_from_images(resize(images, scale_ratio, up=True))[0]


def down_sample(tokenizer: Tokenizer, tokens: Tensor, scale_ratio: int, resize_filter: str = "") -> Tensor:
    """Return D_r of the verified high-resolution rows (SCALE-2).

    Args:
        tokenizer: Shared by both resolutions.
        tokens: Int[rows, W]; rows is a multiple of r.
        scale_ratio: r.

    Returns:
        Int[rows / r, W / r].
    """
    images = tokenizer.images_from_tokens(tokens[None])
    return tokenizer.tokens_from_images(resize(images, scale_ratio, up=False))[0]
