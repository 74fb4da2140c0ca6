"""The token grid: raster order, local expansion and islands (GRID-1, LOCAL-1, LOCAL-2)."""

import torch
from torch import Tensor


def raster_positions(mask: Tensor) -> Tensor:
    """Return the raster positions row * W + column of the cells of Bool[H, W], ascending, Int[n] (GRID-1)."""
    return mask.flatten().nonzero().flatten()


def expand(rejected: Tensor, radius: int | Tensor, first_row: int = 0, last_row: int | None = None) -> Tensor:
    """Return R_X, the cells to resample: neighbourhoods of rejected cells, none before the first of them (LOCAL-1).

    Args:
        rejected: Bool[H, W], R_T.
        radius: How many rows and columns away a rejected cell reaches (the paper's l); 0 adds nothing. Int[H, W]
            gives each cell its own (LOCAL-3).
        first_row: First row of the window.
        last_row: Row after the window's last; None is H. Cells outside the window are never resampled.

    Returns:
        Bool[H, W]; all False where nothing is rejected.

    Raises:
        ValueError: a radius is negative, or the rows are not in 0 <= first_row <= last_row <= H.
    """
    height, width = rejected.shape
    last_row = height if last_row is None else last_row
    radii = torch.full((height, width), radius) if isinstance(radius, int) else radius
    if int(radii.min()) < 0:
        raise ValueError(f"radius: expected at least 0, got {int(radii.min())}")
    if not 0 <= first_row <= last_row <= height:
        raise ValueError(f"window rows: expected 0 <= first <= last <= {height}, got {first_row} and {last_row}")
    expanded = torch.zeros(height, width, dtype=torch.bool)
    cells = rejected.nonzero().tolist()
    for row, column in cells:
        reach = int(radii[row, column])
        rows = slice(max(first_row, row - reach), min(last_row, row + reach + 1))
        columns = slice(max(0, column - reach), column + reach + 1)
        expanded[rows, columns] = True
    if cells:
        first = cells[0][0] * width + cells[0][1]
        expanded.view(-1)[:first] = False
    return expanded


def islands(mask: Tensor) -> list[Tensor]:
    """Return the 8-connected components of Bool[H, W] (LOCAL-2).

    Returns:
        One Int[n] for each island: its raster positions, ascending; islands ordered by their first position.
    """
    height, width = mask.shape
    left = set(raster_positions(mask).tolist())
    components = []
    while left:
        island, frontier = [], [min(left)]
        left.discard(frontier[0])
        while frontier:
            position = frontier.pop()
            island.append(position)
            row, column = divmod(position, width)
            for near_row in range(max(0, row - 1), min(height, row + 2)):
                for near_column in range(max(0, column - 1), min(width, column + 2)):
                    near = near_row * width + near_column
                    if near in left:
                        left.discard(near)
                        frontier.append(near)
        components.append(torch.tensor(sorted(island), dtype=torch.long))
    return components
