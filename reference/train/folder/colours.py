"""From any kind of pixels to red, green and blue in sRGB, on a ground."""

from functools import lru_cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

MAX_PROFILE_BYTES = 2**22
# The colours that a profile speaks of, by the mode of the pixels that it may be applied to.
COLOUR_SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}


class UnknownPixelsError(ValueError):
    """Pixels of which it is not known what they look like."""


def plain(image: Image.Image) -> Image.Image:
    """Return a decoded picture in mode L, RGB, RGBA or CMYK.

    Raises:
        UnknownPixelsError: 32-bit numbers beyond 16 bits, floats, Lab.
    """
    mode = image.mode
    if mode == "F" or mode == "LAB":
        raise UnknownPixelsError(f"expected pixels of 8 or 16 bits, got mode {mode}")
    if mode.startswith("I"):
        return _eight_bits(image)
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image if mode in ("L", "RGB", "CMYK") else image.convert("L" if mode == "1" else "RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return 16-bit greys as mode L."""
    values = np.asarray(image)
    if values.size and not 0 <= int(values.min()) <= int(values.max()) <= 65535:
        raise UnknownPixelsError("expected pixels of 8 or 16 bits, got larger numbers")
    # In steps of rows: a float of every pixel would be four times the picture.
    small = np.empty(values.shape, np.uint8)
    for first in range(0, len(values), 256):
        small[first : first + 256] = np.rint(values[first : first + 256] / 257)
    return Image.fromarray(small)


def flattened(image: Image.Image, profile: bytes | None, ground: tuple[int, int, int]) -> Image.Image:
    """Return a picture in mode RGB: its colours in sRGB, laid over a ground where it is transparent.

    Args:
        image: Mode L, RGB, RGBA or CMYK.
        profile: The ICC profile that came with it.
        ground: Red, green, blue.
    """
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    opaque = image.convert("RGB") if alpha else image
    transform = _transform(profile, opaque.mode) if profile and len(profile) <= MAX_PROFILE_BYTES else None
    coloured = ImageCms.applyTransform(opaque, transform) if transform else None
    rgb = coloured or opaque.convert("RGB")
    if alpha is None:
        return rgb
    return Image.composite(rgb, Image.new("RGB", rgb.size, ground), alpha)


@lru_cache(maxsize=8)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return what turns pixels into sRGB; None where they are it already, or the profile is of no use."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if source.profile.xcolor_space.strip() != COLOUR_SPACES[mode]:
            return None
        if "srgb" in (source.profile.profile_description or "").lower():
            return None
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):  # a damaged profile spoils no picture
        return None
