"""Sweeps: one pass samples many cells from guesses of those before them; the engines' twin of `reference.sweeps`."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.rules.grid import islands
from mulo_sd.engines.rules.widths import AutoWidth

Tokens = NDArray[np.int64]


def certain(guesses: Tokens, samples: Tokens) -> int:
    """Return how many cells of a region a sweep decides (SWEEP-2).

    From the left: every cell whose sample is its guess, and the first whose sample is another.

    Args:
        guesses: Int[n], what the pass took for the cells.
        samples: Int[n], n at least 1, what their noise makes of its scores.
    """
    differing = guesses != samples
    return int(differing.argmax()) + 1 if differing.any() else len(guesses)


class Sweeps:
    """The cells of a set that are still to decide by sweeps (SWEEP-1 to SWEEP-4).

    Args:
        cells: Bool[H, W], the set.
        by_island: Whether each island (LOCAL-2) is a region of its own; else the whole set is one.
        width: How many cells of a region a sweep samples; None is all, an `AutoWidth` what it says before each sweep.
        limit: The sweep that decides all that is left; None is none.
    """

    def __init__(
        self, cells: NDArray[np.bool_], by_island: bool, width: int | AutoWidth | None, limit: int | None
    ) -> None:
        regions = islands(cells) if by_island else [np.flatnonzero(cells)]
        self.undecided = [region for region in regions if len(region)]
        self.width, self.limit, self.made = width, limit, 0

    @property
    def is_last(self) -> bool:
        """Whether the next sweep decides all that is left (SWEEP-4)."""
        return self.limit is not None and self.made + 1 >= self.limit

    def _swept(self) -> list[Tokens]:
        """Return the cells that the next sweep samples, by region."""
        width = self.width.width if isinstance(self.width, AutoWidth) else self.width
        return [region[: None if self.is_last else width] for region in self.undecided]

    def ready(self) -> list[int]:
        """Return the cells that the next sweep samples, raster positions ascending; none once all are decided."""
        swept = self._swept()
        if len(swept) == 1:
            cells: list[int] = swept[0].tolist()
            return cells
        return sorted(cell for region in swept for cell in region.tolist())

    def guessed(self, unfed: set[int]) -> list[int]:
        """Return the cells whose guesses the next sweep feeds, beside the predecessors of what it samples (SWEEP-3).

        Args:
            unfed: Cells whose token no pass has fed.
        """
        fed: list[int] = []
        for region in self._swept():
            *before, last = region.tolist()
            fed += before
            if last in unfed:
                fed.append(last)
        return fed

    def settle(self, cells: Sequence[int], guesses: Tokens, samples: Tokens) -> NDArray[np.bool_]:
        """Note what a sweep sampled, and return which of its cells it decides, Bool[n].

        Args:
            cells: From `ready`, n of them.
            guesses: Int[n].
            samples: Int[n].
        """
        decided, places, left = np.zeros(len(cells), dtype=np.bool_), np.asarray(cells), []
        for region, swept in zip(self.undecided, self._swept(), strict=True):
            rows = places.searchsorted(swept)
            count = len(swept) if self.is_last else certain(guesses[rows], samples[rows])
            decided[rows[:count]] = True
            if count < len(region):
                left.append(region[count:])
        if isinstance(self.width, AutoWidth):
            self.width.note(len(cells), int(decided.sum()))
        self.undecided = left
        self.made += 1
        return decided


def first_guesses(
    kind: str, grid: Tokens, width: int, cells: Sequence[int], opening: Callable[[Sequence[int]], Tokens]
) -> Tokens:
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
    filled = grid.copy()
    for cell in cells:
        # Where rows advance side by side, the token to the left of a row's first cell may be missing (METHOD-5).
        is_above = cell >= width and (kind == "above" or int(filled[cell - 1]) < 0)
        source = cell - width if is_above else cell - 1
        filled[cell] = filled[source] if cell > 0 else opening([0])[0]
    return filled[list(cells)]
