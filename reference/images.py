"""Images as tensors in [-1, 1] and as 8-bit pixels."""

import torch
from torch import Tensor


def images_from_pixels(pixels: Tensor) -> Tensor:
    """Return Float[B, 3, H, W] in [-1, 1] from UInt8[B, H, W, 3]."""
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1.0


def pixels_from_images(images: Tensor) -> Tensor:
    """Return UInt8[B, H, W, 3] from Float[B, 3, H, W] in [-1, 1]."""
    return ((images.float() + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
