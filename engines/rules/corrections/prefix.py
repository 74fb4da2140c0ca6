"""Correction in raster order from the first rejection (METHOD-2), as SJD, EAGLE and SpecDec have it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.rules.corrections.window import Window, leading


class Prefix:
    """The cells of a set in raster order, a window of the first undecided ones a pass.

    Args:
        cells: Grid positions, ascending.
        length: Of a window.
    """

    def __init__(self, cells: Sequence[int], length: int) -> None:
        self.undecided, self.length = list(cells), length

    def windows(self) -> list[Window]:
        """Return the window of the next pass; none once all is decided."""
        cells = self.undecided[: self.length]
        return [Window(cells, draws=True, drafted=len(cells))] if cells else []

    def settle(self, kept: Sequence[NDArray[np.bool_]]) -> list[int]:
        """Note which cells of each window are kept, Bool[n], and return how many of it are decided, from the left."""
        count = min(leading(kept[0]) + 1, len(kept[0]))
        del self.undecided[:count]
        return [count]
