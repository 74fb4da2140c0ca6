"""Schedules: which cells are decided in which step (SCHED-1, SCHED-2); the engines' twin of `reference.schedule`."""

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.rules.grid import islands


class _Region:
    """Cells that wait for each other, row by row from the left."""

    def __init__(self, cells: list[int], width: int) -> None:
        self.width = width
        left: dict[int, list[int]] = {}
        for cell in reversed(cells):
            left.setdefault(cell // width, []).append(cell % width)
        self.left = left  # row -> columns not decided yet, the leftmost last
        self.rows = sorted(left)

    def add_ready(self, window: float, ready: list[int]) -> None:
        """Append the cells that wait for nothing (SCHED-1)."""
        reached = math.inf  # the leftmost undecided column of all rows above
        for row in self.rows:
            column = self.left[row][-1]
            if reached >= column + window:
                ready.append(row * self.width + column)
            reached = min(reached, column)
            if reached < window:
                return  # no cell further down can be ready: its column is 0 or more

    def decide(self, cell: int) -> None:
        row = cell // self.width
        self.left[row].pop()
        if not self.left[row]:
            self.rows.remove(row)


class Schedule:
    """The cells of Bool[H, W] that are still to decide.

    Args:
        cells: The set.
        window: At least 1; None is infinite, which is raster order.
        by_island: Whether islands (LOCAL-2) wait for themselves only.
    """

    def __init__(self, cells: NDArray[np.bool_], window: int | None, by_island: bool) -> None:
        self.window = math.inf if window is None else window
        found = islands(cells) if by_island else [np.flatnonzero(cells)]
        self.regions = [_Region(region.tolist(), cells.shape[1]) for region in found]
        self.undecided = self.regions
        self.region_of = {cell: self.regions[number] for number, region in enumerate(found) for cell in region.tolist()}

    def ready(self) -> list[int]:
        """Return the cells that wait for nothing, raster positions ascending; none once all are decided."""
        ready: list[int] = []
        for region in self.undecided:
            region.add_ready(self.window, ready)
        ready.sort()
        return ready

    def decide(self, cells: Iterable[int]) -> None:
        """Note that ready cells are decided. A cell that is not stays ready."""
        finished = False
        for cell in cells:
            region = self.region_of[cell]
            region.decide(cell)
            finished = finished or not region.rows
        if finished:
            self.undecided = [region for region in self.undecided if region.rows]
