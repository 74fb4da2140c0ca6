"""Automatic width: how many cells a sweep samples where the image does not depend on it (SWEEP-6)."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

# Cells that a sweep of a width decides on average, in whole grids of the demo's target (docs/performance.md).
DEMO_WIDTHS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
DEMO_DECIDED = (1.0, 1.75, 2.75, 4.27, 6.28, 9.14, 11.4, 11.5, 11.6)
MAX_WIDTH = DEMO_WIDTHS[-1]
# How much less or more often guesses come true than on the demo: their chances to these powers.
EXPONENTS = 2.0 ** np.linspace(-4, 4, 33)
# Widths whose seconds for a decided cell differ by less are equal, as far as seconds can be measured: the widest of
# them is taken, which makes the fewest passes.
SAME_COST = 1.05
# Sweeps of the demo that always count beside a decode's own, and how a sweep fades with every one that follows it: so
# no few sweeps settle the width, not even those of width 1, which say nothing of guesses.
DEMO_SWEEPS, DEMO_SWEEPS_WIDTH, KEPT_SHARE = 4, 16, 0.95


def _decided_by_width() -> NDArray[np.float64]:
    """Return how many cells a sweep decides on average, [exponents, 1 + MAX_WIDTH], by its width.

    The n-th cell is decided where all n - 1 guesses before it came true.
    """
    widths = np.arange(1, MAX_WIDTH + 1)
    chances = np.diff(np.interp(widths, DEMO_WIDTHS, DEMO_DECIDED), prepend=0.0)
    of_widths = np.cumsum(chances ** EXPONENTS[:, None], axis=1)
    return np.concatenate([np.zeros((len(EXPONENTS), 1)), of_widths], axis=1)


DECIDED = _decided_by_width()
LIKE_THE_DEMO = int(np.abs(np.log(EXPONENTS)).argmin())
# By exponent, what the demo's sweeps were expected to decide, less what they decided.
OF_THE_DEMO = DEMO_SWEEPS * (DECIDED[:, DEMO_SWEEPS_WIDTH] - DECIDED[LIKE_THE_DEMO, DEMO_SWEEPS_WIDTH])


class AutoWidth:
    """The width of one model's sweeps in one decode: the one with the fewest expected seconds for a decided cell.

    What a sweep decides is expected as on the demo at first, and then as in the last few sweeps. So the width changes
    from sweep to sweep; what it follows from, apart from the measured seconds, is the image itself.
    """

    def __init__(self, seconds: Callable[[], Mapping[int, float]]) -> None:
        """Prepare; nothing is measured before a width is asked for.

        Args:
            seconds: Returns what a sweep costs by its width, which is 1..MAX_WIDTH; not empty.
        """
        self._seconds = seconds
        self._width_by_exponent: list[int] = []
        # Of the last sweeps, by exponent: cells that they were expected to decide, less those that they decided.
        self._missed = np.zeros(len(EXPONENTS))

    @property
    def width(self) -> int:
        """How many cells the next sweep samples."""
        if not self._width_by_exponent:
            width_to_seconds = self._seconds()
            widths = np.array(sorted(width_to_seconds))
            seconds = np.array([width_to_seconds[int(width)] for width in widths])
            by_cell = seconds / DECIDED[:, widths]
            cheap = by_cell <= SAME_COST * by_cell.min(axis=1, keepdims=True)
            self._width_by_exponent = np.where(cheap, widths, 0).max(axis=1).tolist()
        return self._width_by_exponent[int(np.abs(OF_THE_DEMO + self._missed).argmin())]

    def note(self, sampled: int, decided: int) -> None:
        """Note how many cells a sweep sampled, and how many of them it decided."""
        self._missed = KEPT_SHARE * self._missed + DECIDED[:, min(sampled, MAX_WIDTH)] - decided
