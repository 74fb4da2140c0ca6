"""Changes at random, each a function of the pixels and of its own random numbers."""

import re

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mulo_sd.reference.train.folder.options import AUGMENTATIONS, Augmentation

SMALLEST_CROP = 0.8  # of the side
JITTER = 0.05  # of brightness, contrast and saturation, up or down
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
SIDES = re.compile(r"\b(?:left|right)(?:s|most|ward|wards|hand|handed|side)?\b", re.IGNORECASE)

# Streams of random numbers: of a view's caption, and of each augmentation.
CAPTION_STREAM = 0
STREAMS: dict[Augmentation, int] = {name: number for number, name in enumerate(AUGMENTATIONS, start=1)}


def stream(seed: int, index: int, number: int) -> np.random.Generator:
    """Return the random numbers of one purpose for one view."""
    return np.random.default_rng([seed, index, number])


def says_sides(caption: str) -> bool:
    """Return whether a caption says left or right, which a mirrored picture would make wrong."""
    return SIDES.search(caption) is not None


def resized(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return a square picture at a size, UInt8[size, size, 3]."""
    if len(pixels) == size:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.LANCZOS))


def crop(pixels: NDArray[np.uint8], size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a random square of 80 to 100% of the side at a size, UInt8[size, size, 3]."""
    whole = len(pixels)
    side = int(rng.integers(int(np.ceil(SMALLEST_CROP * whole)), whole + 1))
    top, left = (int(rng.integers(whole - side + 1)) for _ in range(2))
    return resized(pixels[top : top + side, left : left + side], size)


def flip(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the picture mirrored, one time in two."""
    return pixels[:, ::-1] if rng.random() < 0.5 else pixels


def colour(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the picture with brightness, contrast and saturation each up to 5% up or down."""
    brightness, contrast, saturation = 1 + JITTER * rng.uniform(-1, 1, 3).astype(np.float32)
    values = pixels.astype(np.float32) * brightness
    mean = values.mean()
    values = mean + (values - mean) * contrast
    grey = (values @ LUMA)[..., None]
    values = grey + (values - grey) * saturation
    changed: NDArray[np.uint8] = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return changed


def view(
    pixels: NDArray[np.uint8], size: int, chosen: tuple[Augmentation, ...], caption: str, seed: int, index: int
) -> NDArray[np.uint8]:
    """Return a picture as one view shows it, UInt8[size, size, 3].

    Args:
        pixels: UInt8[side, side, 3], as it is kept.
        size: At most `side`.
        chosen: The augmentations.
        caption: With which it is seen: where it says left or right, nothing is mirrored.
        seed: Of the run.
        index: Of the view.
    """
    seen = crop(pixels, size, stream(seed, index, STREAMS["crop"])) if "crop" in chosen else resized(pixels, size)
    if "flip" in chosen and not says_sides(caption):
        seen = flip(seen, stream(seed, index, STREAMS["flip"]))
    if "colour" in chosen:
        seen = colour(seen, stream(seed, index, STREAMS["colour"]))
    return seen
