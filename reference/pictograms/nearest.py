"""The pictogram and place that explain most of a picture: searched coarsely, the best few compared exactly."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from mulo_sd.reference.pictograms.scenes import BOX, PIXELS
from mulo_sd.reference.pictograms.sheet import sprites

SEARCH_SIZE = 32  # pixels a side of the coarse search: places that are 4 of 128 pixels apart
COMPARED = 8  # are compared at the picture's size


@dataclass(frozen=True)
class Candidate:
    """A pictogram at a place, and how much of a picture it explains.

    Attributes:
        gain: By how much it lowers the sum of squares.
        pictogram: Its index.
        rows: Of its box.
        columns: Of its box.
        drawn: What it adds to the ground, Float32[s, s, 3].
        alpha: How much of the ground it covers, Float32[s, s, 1].
    """

    gain: float
    pictogram: int
    rows: slice
    columns: slice
    drawn: NDArray[np.float32]
    alpha: NDArray[np.float32]


@cache
def templates(size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return all pictograms as in a picture of `size` pixels a side: colours (0..255) times alpha, and alpha."""
    ratio = PIXELS // size
    small = BOX // ratio
    pixels = sprites(BOX).reshape(-1, small, ratio, small, ratio, 4).mean(axis=(2, 4))
    return np.ascontiguousarray(pixels[..., :3]), np.ascontiguousarray(pixels[..., 3:])


def _smaller(image: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    ratio = len(image) // size
    reduced: NDArray[np.float32] = image.reshape(size, ratio, size, ratio, 3).mean(axis=(1, 3))
    return reduced


def _searched(rest: NDArray[np.float32], colour: NDArray[np.float32]) -> list[tuple[int, int, int]]:
    """Return the best of all pictograms at all places: row and column in pixels of 128, and pictogram."""
    coarse = _smaller(rest, SEARCH_SIZE)
    step = PIXELS // SEARCH_SIZE
    colours, alpha = templates(SEARCH_SIZE)
    drawn = (colours - alpha * colour).reshape(len(colours), -1)
    small = BOX // step
    windows = np.lib.stride_tricks.sliding_window_view(coarse, (small, small), axis=(0, 1))
    across = windows.shape[1]
    patches = windows.transpose(0, 1, 3, 4, 2).reshape(across * across, -1)
    gains = 2 * patches @ drawn.T - (drawn**2).sum(axis=1)
    found = []
    for number in np.argpartition(gains, -COMPARED, axis=None)[-COMPARED:].tolist():
        place, index = divmod(number, len(colours))
        row, column = divmod(place, across)
        found.append((row * step, column * step, index))
    return found


def best_candidate(rest: NDArray[np.float32], ground: NDArray[np.float32]) -> Candidate:
    """Return what explains most.

    Args:
        rest: What differs from the ground, Float32[s, s, 3] with s at least the coarse search's.
        ground: Float32[s, s, 3].
    """
    size = len(rest)
    ratio = PIXELS // size
    colours, alpha = templates(size)
    candidates = []
    for row, column, index in _searched(rest, ground.mean(axis=(0, 1))):
        rows = slice(row // ratio, (row + BOX) // ratio)
        columns = slice(column // ratio, (column + BOX) // ratio)
        drawn = colours[index] - alpha[index] * ground[rows, columns]
        gain = float((drawn * (2 * rest[rows, columns] - drawn)).sum())
        candidates.append(Candidate(gain, index, rows, columns, drawn, alpha[index]))
    return max(candidates, key=lambda item: item.gain)
