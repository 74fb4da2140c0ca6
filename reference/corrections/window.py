"""A window: the cells of a region that a pass scores."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Window:
    """The cells of a region that a pass scores, and what may become of them (METHOD-2).

    Attributes:
        cells: Grid positions, ascending.
        draws: Whether the first cell that is not kept is decided as it is drawn.
        drafted: How many of the cells, from the left, may hold a draft.
        branch: The bit of the row whose drafts these are, which no other row sees (METHOD-5); None is no row's.
    """

    cells: list[int]
    draws: bool
    drafted: int
    branch: int | None = None


def leading(kept: Tensor) -> int:
    """Return how many cells are kept before the first that is not, Bool[n]."""
    rejected = (~kept).nonzero()
    return int(rejected[0]) if len(rejected) else len(kept)
