"""The ground of a picture: fitted to its pixels, and named by its colour."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from mulo_sd.reference.pictograms.grounds import GROUND_TO_RGB

BORDER_SHARE = 16  # of the side: pictograms leave more of a border of this width free than any of them covers
BIN_LEVELS = 24  # within which colours count as one where the most frequent is looked for
TOLERANCES = (44, 28, 18, 12, 8, 6)  # levels within which a pixel counts as ground, fit after fit
GREY_WEIGHT = 0.25  # of brightness, against hue, where grounds are told apart


@cache
def _terms(size: int) -> NDArray[np.float64]:
    """Return 1, x, y and x² + y² of every pixel, Float64[size², 4], which make its brightness; x and y lie in -1..1."""
    middle = (np.arange(size) + 0.5) / size * 2 - 1
    y, x = np.meshgrid(middle, middle, indexing="ij")
    return np.stack([np.ones_like(x), x, y, x * x + y * y], axis=-1).reshape(-1, 4)


def _border_colour(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the most frequent colour of a picture's border, Float32[3].

    The whole picture may hold more of a pictogram's colour than of the ground's: three pages, three white cats.
    """
    width = max(1, len(image) // BORDER_SHARE)
    border = np.ones(image.shape[:2], dtype=np.bool_)
    border[width:-width, width:-width] = False
    pixels = image[border]
    bins = (pixels // BIN_LEVELS).astype(np.int64)
    codes = (bins[:, 0] * 16 + bins[:, 1]) * 16 + bins[:, 2]
    found: NDArray[np.float32] = np.median(pixels[codes == np.bincount(codes).argmax()], axis=0)
    return found


def fit_ground(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fit the ground of a picture, Float32[s, s, 3] -> the same: a colour, and a brightness that all channels share."""
    terms = _terms(len(image))
    pixels = image.reshape(-1, 3).astype(np.float64)
    fitted = np.broadcast_to(_border_colour(image).astype(np.float64), pixels.shape)
    for tolerance in TOLERANCES:
        inside = np.abs(pixels - fitted).max(axis=1) <= tolerance
        some = terms[inside]
        if len(some) < 4 * terms.shape[1]:
            break
        light = terms @ np.linalg.lstsq(some.T @ some, some.T @ pixels[inside].mean(axis=1), rcond=None)[0]
        colour = (pixels[inside] - light[inside, None]).mean(axis=0)
        fitted = colour + light[:, None]
    return fitted.reshape(image.shape).astype(np.float32)


def ground_colour(ground: NDArray[np.float32]) -> str:
    """Return the name of a ground's colour, of Float32[s, s, 3]: the nearest in hue, brightness counting less."""
    mean = ground.mean(axis=(0, 1))

    def distance(rgb: tuple[int, int, int]) -> float:
        difference = mean - np.array(rgb)
        grey = difference.mean()
        return float(((difference - grey) ** 2).sum() + 3 * GREY_WEIGHT * grey**2)

    return min(GROUND_TO_RGB, key=lambda name: distance(GROUND_TO_RGB[name]))
