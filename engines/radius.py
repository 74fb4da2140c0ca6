"""The adaptive radius of every cell of a window (LOCAL-3); the engines' twin of `reference.radius`."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def adaptive_radii(entropies: NDArray[np.float32], radius: int, radius_nats: float) -> NDArray[np.int64]:
    """Return how far a rejection of each cell spreads, Int[rows, W].

    Args:
        entropies: Float32[rows, W], of p at each cell, nats.
        radius: The largest.
        radius_nats: Nats of mean entropy around a cell that buy one cell of radius; 0 gives `radius` everywhere.
    """
    if radius_nats == 0:
        return np.full(entropies.shape, radius, dtype=np.int64)
    side = 2 * radius + 1
    # Cells outside the window do not count: the mean of what is inside.
    sums = ndimage.uniform_filter(entropies.astype(np.float64), side, mode="constant")
    inside = ndimage.uniform_filter(np.ones(entropies.shape), side, mode="constant")
    return np.minimum(np.floor(sums / inside / radius_nats), radius).astype(np.int64)
