"""What is decided of a window of drafts (METHOD-2, METHOD-4, METHOD-5), one rule a file."""

from torch import Tensor

from mulo_sd.reference.corrections.prefix import Prefix
from mulo_sd.reference.corrections.rounds import Rounds
from mulo_sd.reference.corrections.rows import Rows
from mulo_sd.reference.corrections.window import Window
from mulo_sd.reference.grid import raster_positions
from mulo_sd.reference.parts import Correction
from mulo_sd.reference.settings import Settings

__all__ = ["Prefix", "Rounds", "Rows", "Window", "correction_of", "window_length"]


def window_length(settings: Settings) -> int:
    """Return how many cells a pass decides at most: a sweep's guesses, or all drafts and one more (METHOD-2)."""
    lengths = {"sweep": settings.jacobi_window, "head": settings.draft_length + 1}
    return lengths.get(settings.decoding.draft or "", settings.block + 1)


def correction_of(cells: Tensor, correction: Correction | None, settings: Settings) -> Prefix | Rounds | Rows:
    """Return how a set of cells, Bool[H, W], is decided by a correction, with the settings' lengths."""
    positions = raster_positions(cells).tolist()
    if correction == "rounds":
        return Rounds(positions, settings.rounds)
    if correction == "rows":
        return Rows(positions, cells.shape[1], settings.jacobi_window, settings.row_lead)
    return Prefix(positions, window_length(settings))
