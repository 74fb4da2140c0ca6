"""Sweeps: one pass samples many cells from guesses of those before them, and decides what is certain (SWEEP-1)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mulo_sd.reference.grid import islands, raster_positions


def certain(guesses: Tensor, samples: Tensor) -> int:
    """Return how many cells of a region a sweep decides (SWEEP-2).

    From the left: every cell whose sample is its guess, and the first whose sample is another. Each of them was sampled
    from tokens that were right.

    Args:
        guesses: Int[n], what the pass took for the cells.
        samples: Int[n], n at least 1, what their noise makes of its scores.
    """
    differing = (guesses != samples).nonzero()
    return int(differing[0]) + 1 if len(differing) else len(guesses)


class Sweeps:
    """The cells of a set that are still to decide by sweeps (SWEEP-1 to SWEEP-4).

    Args:
        cells: Bool[H, W], the set.
        by_island: Whether each island (LOCAL-2) is a region of its own; else the whole set is one.
        width: How many cells of a region a sweep samples; None is all.
        limit: The sweep that decides all that is left; None is none.

    Raises:
        ValueError: the width or the limit is below 1.
    """

    def __init__(self, cells: Tensor, by_island: bool, width: int | None, limit: int | None) -> None:
        for name, value in (("width", width), ("limit", limit)):
            if value is not None and value < 1:
                raise ValueError(f"{name}: expected at least 1 or None, got {value}")
        regions = islands(cells) if by_island else [raster_positions(cells)]
        self.undecided = [region.tolist() for region in regions if len(region)]
        self.width, self.limit, self.made = width, limit, 0

    @property
    def is_last(self) -> bool:
        """Whether the next sweep decides all that is left (SWEEP-4)."""
        return self.limit is not None and self.made + 1 >= self.limit

    def _swept(self) -> list[list[int]]:
        """Return the cells that the next sweep samples, by region."""
        width = None if self.is_last else self.width
        return [region[:width] for region in self.undecided]

    def ready(self) -> list[int]:
        """Return the cells that the next sweep samples, raster positions ascending; none once all are decided."""
        return sorted(cell for region in self._swept() for cell in region)

    def guessed(self, unfed: set[int]) -> list[int]:
        """Return the cells whose guesses the next sweep feeds, beside the predecessors of what it samples (SWEEP-3).

        Args:
            unfed: Cells whose token no pass has fed.
        """
        return [cell for region in self._swept() for cell in (*region[:-1], *unfed.intersection(region[-1:]))]

    def settle(self, cells: Sequence[int], guesses: Tensor, samples: Tensor) -> Tensor:
        """Note what a sweep sampled, and return which of its cells it decides, Bool[n].

        Args:
            cells: From `ready`, n of them.
            guesses: Int[n].
            samples: Int[n].
        """
        row_of, decided = {cell: row for row, cell in enumerate(cells)}, set[int]()
        for region, swept in zip(self.undecided, self._swept(), strict=True):
            rows = [row_of[cell] for cell in swept]
            count = len(swept) if self.is_last else certain(guesses[rows], samples[rows])
            decided.update(swept[:count])
            del region[:count]
        self.undecided = [region for region in self.undecided if region]
        self.made += 1
        return torch.tensor([cell in decided for cell in cells])


def first_guesses(
    kind: str, grid: Tensor, width: int, cells: Sequence[int], opening: Callable[[Sequence[int]], Tensor]
) -> Tensor:
    """Return the first guess of cells that have no token yet, Int[n] (SWEEP-5).

    Args:
        kind: The setting `first_guess`.
        grid: Int[N], the tokens as they stand; -1 where there is none.
        width: Of the grid, in cells.
        cells: Grid positions, ascending, n of them; each comes after a cell that has a token or is among them.
        opening: Draws cells from the distribution of cell 0, each by its own noise.
    """
    if kind == "opening":
        return opening(cells)
    filled = grid.clone()
    for cell in cells:
        # Where rows advance side by side, the token to the left of a row's first cell may be missing (METHOD-5).
        is_above = cell >= width and (kind == "above" or int(filled[cell - 1]) < 0)
        source = cell - width if is_above else cell - 1
        filled[cell] = filled[source] if cell > 0 else opening([0])[0]
    return filled[torch.tensor(cells)]
