"""Adaptive radii (LOCAL-3); the engines' twin of `reference.radius`."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def adaptive_radii(entropies: NDArray[np.float32], radius: int, radius_nats: float) -> NDArray[np.int64]:
    """Return the radius of every cell of a window, Int[rows, W].

    Args:
        entropies: Float32[rows, W], the entropy of p at each cell, in nats.
        radius: The largest radius.
        radius_nats: Nats of mean entropy around a cell for each cell of radius; 0 gives `radius` everywhere.
    """
    if radius_nats == 0:
        return np.full(entropies.shape, radius, dtype=np.int64)
    # The mean is over the cells inside the window.
    means = _sums(entropies.astype(np.float64), radius) / _sums(np.ones(entropies.shape), radius)
    with np.errstate(over="ignore"):  # infinity becomes `radius`
        return np.minimum(np.floor(means / radius_nats), radius).astype(np.int64)


def _sums(values: NDArray[np.float64], radius: int) -> NDArray[np.float64]:
    """Return the sum around every cell. No running sums: one of zeros may end below 0."""
    weights = np.ones(2 * radius + 1)
    rows = ndimage.correlate1d(values, weights, axis=0, mode="constant")
    sums: NDArray[np.float64] = ndimage.correlate1d(rows, weights, axis=1, mode="constant")
    return sums
