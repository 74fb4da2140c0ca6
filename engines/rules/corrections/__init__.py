"""What is decided of a window of drafts, one rule a file; the engines' twin of `reference.corrections`."""

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.parts import Correction
from mulo_sd.engines.rules.corrections.prefix import Prefix
from mulo_sd.engines.rules.corrections.rounds import Rounds
from mulo_sd.engines.rules.corrections.rows import Rows
from mulo_sd.engines.rules.corrections.window import Window
from mulo_sd.engines.settings import Settings

__all__ = ["Prefix", "Rounds", "Rows", "Window", "correction_of", "window_length"]


def window_length(settings: Settings) -> int:
    """Return how many cells a pass decides at most: a sweep's guesses, or all drafts and one more (METHOD-2)."""
    lengths = {"sweep": settings.jacobi_window, "head": settings.draft_length + 1}
    return lengths.get(settings.decoding.draft or "", settings.block + 1)


def correction_of(
    cells: NDArray[np.bool_], correction: Correction | None, settings: Settings
) -> Prefix | Rounds | Rows:
    """Return how a set of cells, Bool[H, W], is decided by a correction, with the settings' lengths."""
    positions: list[int] = np.flatnonzero(cells).tolist()
    if correction == "rounds":
        return Rounds(positions, settings.rounds)
    if correction == "rows":
        return Rows(positions, cells.shape[1], settings.jacobi_window, settings.row_lead)
    return Prefix(positions, window_length(settings))
