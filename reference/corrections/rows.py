"""Correction row by row (METHOD-5), as PJD has it: several rows at once, each behind the one above."""

from collections.abc import Sequence

from torch import Tensor

from mulo_sd.reference.corrections.window import Window, leading
from mulo_sd.reference.parts import MAX_NODES

# Rows that may be open at once: each has a bit of its own, as the nodes of a tree have.
MAX_OPEN = MAX_NODES


class Rows:
    """The rows of a grid, each with a window of its own that never overtakes the row above.

    Args:
        cells: Grid positions of whole rows, ascending.
        width: Of the grid.
        length: Of a window.
        lead: Tokens of a row that open the one below.
    """

    def __init__(self, cells: Sequence[int], width: int, length: int, lead: int) -> None:
        self.rows = [list(cells[start : start + width]) for start in range(0, len(cells), width)]
        self.width, self.length, self.lead = width, length, min(lead, width)
        self.counts = [0] * len(self.rows)
        self.opened = 1

    def _open_windows(self) -> list[tuple[int, Window]]:
        """Return the windows of the next pass, each with its row; a row without room behind the one above has none."""
        windows = []
        for row in range(self.opened):
            done = self.counts[row]
            is_top = row == 0 or self.counts[row - 1] == self.width
            room = self.width - done if is_top else self.counts[row - 1] - done
            count = min(self.length, room)
            if count > 0:
                cells = self.rows[row][done : done + count]
                window = Window(cells, is_top, count - 1, row % MAX_OPEN, after_stand_in=not (is_top or done))
                windows.append((row, window))
        return windows

    def windows(self) -> list[Window]:
        """Return the windows of the next pass, the topmost row's first; none once all is decided."""
        return [window for _, window in self._open_windows()]

    def settle(self, kept: Sequence[Tensor]) -> list[int]:
        """Note which cells of each window are kept, Bool[n], and return how many of each are decided, from the left."""
        decided = []
        for (row, window), each in zip(self._open_windows(), kept, strict=True):
            count = min(leading(each) + (1 if window.draws else 0), len(each))
            decided.append(count)
            self.counts[row] += count
        finished = sum(count == self.width for count in self.counts)
        if self.opened < min(len(self.rows), finished + MAX_OPEN) and self.counts[self.opened - 1] >= self.lead:
            self.opened += 1
        return decided
