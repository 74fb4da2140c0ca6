"""The candidates of a calibration: settings of the verification, by windows and by sweeps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from mulo_sd import engines
from mulo_sd.engines.modes import MODES

# The middle first: what a short budget leaves untried is then the outside of the grid, and no radius.
TAUS = (0.2, 0.05, 0.5)
RADII = (0, 1, 2, 3)
NEIGHBOURS = (16, 4, 64)
ANCHORS = (8.0, 16.0, 32.0)  # beside the bundle's own


@dataclass(frozen=True)
class Candidate:
    """Settings to try; the names are those of `engines.Settings`, and None is the bundle's own anchor."""

    tau: float
    radius: int
    neighbours: int
    draft_by: str = "windows"
    draft_sweeps: int | None = None
    resample_by: str = "windows"
    sweeps: int | None = None
    sweep_width: int | str | None = "auto"
    anchor: float | None = None

    @property
    def is_by_sweeps(self) -> bool:
        """Whether islands are resampled by sweeps."""
        return self.resample_by == "sweeps"

    @property
    def name(self) -> str:
        """The candidate in words."""
        verified = f"tau {self.tau:g}, radius {self.radius}, {self.neighbours} neighbours"
        verified += "" if self.anchor is None else f", anchor {self.anchor:g}"
        if not self.is_by_sweeps:
            return verified
        width = "all cells" if self.sweep_width is None else f"{self.sweep_width} cells"
        return f"{verified}; {_limit_name(self.sweeps)}, {width}; draft by {_limit_name(self.draft_sweeps)}"


def _limit_name(limit: int | None) -> str:
    if limit is None:
        return "sweeps without limit"
    return f"{limit} sweep{'s' if limit > 1 else ''}"


def _swept(sweeps: int | None, draft_sweeps: int | None, sweep_width: int | None) -> dict[str, Any]:
    return {
        "draft_by": "sweeps",
        "draft_sweeps": draft_sweeps,
        "resample_by": "sweeps",
        "sweeps": sweeps,
        "sweep_width": sweep_width,
    }


# Where a pass costs what its cells cost, few sweeps or narrow ones are fast; elsewhere those of all cells. On the demo
# a draft may be cut short, on the pictograms islands alone.
NO_LIMIT, FEW = _swept(None, None, None), _swept(2, None, None)
SWEPT = (_swept(1, 6, None), _swept(4, 6, None), _swept(7, 6, None), FEW, _swept(None, None, 16), NO_LIMIT)


def candidates_of(mode: engines.Mode, most_neighbours: int, anchor: float) -> Sequence[Candidate]:
    """Return the candidates of a mode, the middle first; those by sweeps stand in the middle only.

    Args:
        mode: One that verifies locally; only one that chooses between windows and sweeps gets candidates of both.
        most_neighbours: That the bundle pools.
        anchor: The bundle's own; others are tried by two sweeps and by sweeps without a limit.
    """
    near = dict.fromkeys(min(count, most_neighbours) for count in NEIGHBOURS)
    by_windows = [Candidate(tau, radius, count) for count, tau, radius in product(near, TAUS, RADII)]
    if MODES[mode].resampling.by is None:
        return by_windows
    middle = len(RADII)
    others = [other for other in ANCHORS if other != anchor]
    schedules = [*SWEPT, *({**schedule, "anchor": other} for schedule in (FEW, NO_LIMIT) for other in others)]
    by_sweeps = [replace(item, **schedule) for schedule in schedules for item in by_windows[:middle]]
    return by_windows[:middle] + by_sweeps + by_windows[middle:]
