"""A window: the cells of a region that a pass scores."""

from collections.abc import Container
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Window:
    """The cells of a region that a pass scores, and what may become of them (METHOD-2).

    Attributes:
        cells: Grid positions, ascending.
        draws: Whether the first cell that is not kept is decided as it is drawn.
        drafted: How many of the cells, from the left, may hold a draft.
        branch: Of the row whose drafts these are, which no other row sees (METHOD-5); None is no row's.
        after_stand_in: Whether what stands before the first cell is not decided.
    """

    cells: list[int]
    draws: bool
    drafted: int
    branch: int | None = None
    after_stand_in: bool = False

    def until_undrafted(self, drafted: Container[int]) -> "Window":
        """Return the window up to its first cell without a draft, that one included: of later ones p is not known."""
        without = next((place for place, cell in enumerate(self.cells) if cell not in drafted), len(self.cells))
        return replace(self, cells=self.cells[: without + 1])


def leading(kept: NDArray[np.bool_]) -> int:
    """Return how many cells are kept before the first that is not, Bool[n]."""
    return len(kept) if kept.all() else int(kept.argmin())
