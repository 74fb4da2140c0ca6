"""The token grid: local expansion and islands (LOCAL-1, LOCAL-2), on whole arrays."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def expand(
    rejected: NDArray[np.bool_], radii: NDArray[np.int64], first_row: int = 0, last_row: int | None = None
) -> NDArray[np.bool_]:
    """Return R_X, Bool[H, W]: cells within the radius of a rejected cell, none before the first (LOCAL-1, LOCAL-3).

    Args:
        rejected: Bool[H, W], R_T.
        radii: Int[H, W], how many rows and columns away each cell reaches if it is rejected.
        first_row: First row of the window.
        last_row: Row after the window's last; None is H.
    """
    expanded = np.zeros_like(rejected)
    flat = rejected.ravel()
    if not flat.any():
        return expanded
    window = slice(first_row, last_row)
    for radius in np.unique(radii[rejected]):
        reaching = rejected & (radii == radius)
        reached = ndimage.maximum_filter(reaching, size=2 * int(radius) + 1, mode="constant", cval=0)
        expanded[window] |= reached[window]
    expanded.ravel()[: int(flat.argmax())] = False
    return expanded


def islands(mask: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Return the 8-connected components of Bool[H, W] as raster positions, ordered by their first cell (LOCAL-2)."""
    labels, count = ndimage.label(mask, structure=np.ones((3, 3), dtype=np.int64))
    flat = labels.ravel()
    components = [np.flatnonzero(flat == number) for number in range(1, count + 1)]
    return sorted(components, key=lambda island: int(island[0]))
