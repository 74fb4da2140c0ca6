"""Windows: square parts of a grid that a transformer learns from alone, in most of its first steps.

A step takes as long as the cells that it feeds, and much of a picture is ground. A window of half a side shows one
thing with a quarter of the cells, so that a step sees three pictures in place of one. Cells before the window are not
fed: a model of the rest of the picture is then learned in the steps that see all of it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WHOLE_EVERY = 4  # among the steps of windows one in so many sees whole pictures
PICTURES = 3  # of a step of windows, for each of another step


@dataclass(frozen=True)
class Windows:
    """Which steps see windows, and which ones.

    Attributes:
        share: Of the steps, how many of the first may see windows; the others see whole pictures.
    """

    share: float = 0.0

    def at(self, step: int, steps: int) -> bool:
        """Whether step `step` of `steps` sees windows."""
        return step < self.share * steps and step % WHOLE_EVERY != WHOLE_EVERY - 1

    @property
    def pictures(self) -> int:
        """How many pictures a step may take, for each of a step of whole pictures."""
        return PICTURES if self.share else 1

    def fed(self, focus: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the cells to feed of one picture, in raster order, Int[n]; the next cell of each is to be predicted.

        They are those of a window that shows as much as any of what the caption speaks of, and the one before each
        row. `n` follows from the side alone: (side // 2) * (side // 2 + 1) - 1.

        Args:
            focus: Bool[side, side], at least 2 a side.
            rng: Decides between windows that show as much.
        """
        side = len(focus)
        width = side // 2
        sums = np.pad(focus.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        shown = sums[width:, width:] - sums[:-width, width:] - sums[width:, :-width] + sums[:-width, :-width]
        best = np.argwhere(shown == shown.max())
        top, left = best[int(rng.integers(len(best)))]
        # At the left edge the cell before a row is the last of the row above; the very first cell has none before it.
        cells = (np.arange(top, top + width)[:, None] * side + np.arange(left - 1, left + width)).ravel()
        cells = cells[cells >= 0]
        return cells[: width * (width + 1) - 1].astype(np.int64)
