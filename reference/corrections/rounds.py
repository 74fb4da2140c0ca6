"""Correction in whole rounds (METHOD-4), as SSD has it: every position keeps its draft or takes another on its own."""

from collections.abc import Sequence

from torch import Tensor

from mulo_sd.reference.corrections.window import Window


class Rounds:
    """All cells of a set in every pass, the last of which decides them.

    Args:
        cells: Grid positions, ascending.
        rounds: Passes.
    """

    def __init__(self, cells: Sequence[int], rounds: int) -> None:
        self.undecided, self.left = list(cells), rounds

    def windows(self) -> list[Window]:
        """Return the window of the next round; none once all is decided."""
        return [Window(self.undecided, draws=True, drafted=len(self.undecided))] if self.undecided else []

    def settle(self, kept: Sequence[Tensor]) -> list[int]:
        """Note a round, and return how many cells are decided: none before the last round."""
        self.left -= 1
        if self.left > 0:
            return [0]
        self.undecided = []
        return [len(kept[0])]
