"""Drafts from the last sweep: what the pass before drew for a cell (METHOD-3), at first a guess (SWEEP-5).

Speculative Jacobi decoding (Teng et al., arXiv 2410.01699; rules as read in its published code). It trains nothing.
"""

from collections.abc import Sequence

from torch import Tensor

from mulo_sd.reference.corrections import Window
from mulo_sd.reference.drafts.source import DrawnFrom
from mulo_sd.reference.state import ModelState


class LastSweep:
    """Keeps what each guess was drawn from; first guesses are certain."""

    def __init__(self, state: ModelState) -> None:
        self.state = state
        self.drawn_from: dict[int, Tensor | None] = {}

    def propose(self, windows: Sequence[Window]) -> DrawnFrom:
        """Give cells that hold no token their first guess."""
        cells = [cell for window in windows for cell in window.cells[: window.drafted]]
        self.state.guess(cells)
        return {cell: self.drawn_from.get(cell) for cell in cells}

    def carry(self, carried: DrawnFrom) -> None:
        """Keep them as the next guesses."""
        self.drawn_from.update(carried)
