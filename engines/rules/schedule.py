"""Schedules: which cells are decided in which step, by windows or by sweeps; the twin of `reference.schedule`."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.parts import Order
from mulo_sd.engines.rules.grid import islands
from mulo_sd.engines.rules.sweeps import Sweeps, Tokens
from mulo_sd.engines.rules.widths import AutoWidth
from mulo_sd.engines.settings import Settings


class _Region:
    """Cells that are decided row by row from the left, each row a window behind the rows above."""

    def __init__(self, cells: list[int], width: int) -> None:
        self.width = width
        row_to_columns: dict[int, list[int]] = {}
        for cell in reversed(cells):
            row_to_columns.setdefault(cell // width, []).append(cell % width)
        self.row_to_columns = row_to_columns  # the columns not decided yet, the leftmost last
        self.rows = sorted(row_to_columns)

    def add_ready(self, window: float, ready: list[int]) -> None:
        """Append the cells that wait for nothing (SCHED-1)."""
        reached = math.inf  # the leftmost undecided column of all rows above
        for row in self.rows:
            column = self.row_to_columns[row][-1]
            if reached >= column + window:
                ready.append(row * self.width + column)
            reached = min(reached, column)
            if reached < window:
                return  # no cell further down can be ready: its column is 0 or more

    def decide(self, cell: int) -> None:
        row = cell // self.width
        self.row_to_columns[row].pop()
        if not self.row_to_columns[row]:
            self.rows.remove(row)


class Schedule:
    """The cells that are still to be decided.

    Args:
        cells: Bool[H, W], the set of cells.
        window: At least 1; None is infinite, which is raster order.
        by_island: Whether each island (LOCAL-2) is decided independently of the others.
    """

    def __init__(self, cells: NDArray[np.bool_], window: int | None, by_island: bool) -> None:
        self.window = math.inf if window is None else window
        regions = [region.tolist() for region in (islands(cells) if by_island else [np.flatnonzero(cells)])]
        self.regions = [_Region(region, cells.shape[1]) for region in regions]
        self.undecided = self.regions
        self.region_of = {cell: self.regions[number] for number, region in enumerate(regions) for cell in region}

    def ready(self) -> list[int]:
        """Return the cells that wait for nothing, raster positions ascending; none once all are decided."""
        ready: list[int] = []
        for region in self.undecided:
            region.add_ready(self.window, ready)
        ready.sort()
        return ready

    def guessed(self, unfed: set[int]) -> list[int]:
        """Return the cells whose guesses the next step feeds: none."""
        return []

    def settle(self, cells: Sequence[int], guesses: Tokens, samples: Tokens) -> NDArray[np.bool_]:
        """Mark ready cells as decided, and return that all are, Bool[n]. A cell that is not marked stays ready."""
        self.decide(cells)
        return np.ones(len(cells), dtype=np.bool_)

    def decide(self, cells: Iterable[int]) -> None:
        """Mark ready cells as decided."""
        finished = False
        for cell in cells:
            region = self.region_of[cell]
            region.decide(cell)
            finished = finished or not region.rows
        if finished:
            self.undecided = [region for region in self.undecided if region.rows]


def schedule_of(
    cells: NDArray[np.bool_], order: Order, settings: Settings, auto_width: int | AutoWidth
) -> Schedule | Sweeps:
    """Return the schedule by which a set of cells, Bool[H, W], is decided in some order (SWEEP-1).

    Args:
        cells: The set.
        order: Its order, by names of settings.
        settings: Of the decode.
        auto_width: What "auto" is where the image is the same whatever the width (SWEEP-6).
    """
    window, by_island = settings.named(order.window, None), settings.named(order.by_island, False)
    if settings.named(order.by, "windows" if order.window else "sweeps") == "windows":
        return Schedule(cells, window, by_island)
    limit = settings.named(order.limit, None)
    if settings.sweep_width != "auto":
        return Sweeps(cells, by_island, settings.sweep_width, limit)
    return Sweeps(cells, by_island, auto_width if limit is None and not by_island else None, limit)
