"""Schedules: which cells are decided in which step (SCHED-1, SCHED-2), by windows or by sweeps (SWEEP-1)."""

import math
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from mulo_sd.reference.grid import islands, raster_positions
from mulo_sd.reference.parts import Order
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.sweeps import Sweeps


class _Region:
    """Cells that wait for each other, row by row from the left."""

    def __init__(self, cells: list[int], width: int) -> None:
        self.width = width
        self.left: dict[int, list[int]] = {}  # row -> columns not decided yet, the leftmost last
        for cell in reversed(cells):
            self.left.setdefault(cell // width, []).append(cell % width)
        self.rows = sorted(self.left)

    def ready(self, window: float) -> Iterator[int]:
        """Yield the cells that wait for nothing (SCHED-1)."""
        reached = math.inf  # the leftmost undecided column of all rows above
        for row in self.rows:
            if self.left[row]:
                column = self.left[row][-1]
                if reached >= column + window:
                    yield row * self.width + column
                reached = min(reached, column)


class Schedule:
    """The cells of a set that are still to decide (SCHED-1, SCHED-2).

    Cell (i, j) waits for the cells to its left in row i, and for the cells of the rows above whose column is
    < j + window: both inside its island where `by_island` is set, inside the whole set where it is not.

    Args:
        cells: Bool[H, W], the set.
        window: At least 1; None is infinite, which is raster order.
        by_island: Whether islands (LOCAL-2) wait for themselves only.

    Raises:
        ValueError: the window is below 1.
    """

    def __init__(self, cells: Tensor, window: int | None, by_island: bool) -> None:
        if window is not None and window < 1:
            raise ValueError(f"window: expected at least 1 or None, got {window}")
        self.width = cells.shape[1]
        self.window = math.inf if window is None else window
        regions = islands(cells) if by_island else [raster_positions(cells)]
        self.regions = [_Region(region.tolist(), self.width) for region in regions]
        self.region_of = {
            cell: region for region, numbers in zip(self.regions, regions, strict=True) for cell in numbers.tolist()
        }

    def ready(self) -> list[int]:
        """Return the cells that wait for nothing, raster positions ascending; none once all are decided."""
        return sorted(cell for region in self.regions for cell in region.ready(self.window))

    def guessed(self, unfed: set[int]) -> list[int]:
        """Return the cells whose guesses the next step feeds: none."""
        return []

    def settle(self, cells: Sequence[int], guesses: Tensor, samples: Tensor) -> Tensor:
        """Note that ready cells are decided, and return that all are, Bool[n]. A cell that is not stays ready."""
        self.decide(cells)
        return torch.ones(len(cells), dtype=torch.bool)

    def decide(self, cells: Iterable[int]) -> None:
        """Note that ready cells are decided."""
        for cell in cells:
            self.region_of[cell].left[cell // self.width].pop()


def schedule_of(cells: Tensor, order: Order, settings: Settings) -> Schedule | Sweeps:
    """Return the schedule by which a set of cells, Bool[H, W], is decided in some order (SWEEP-1)."""
    window, by_island = settings.named(order.window, None), settings.named(order.by_island, False)
    if settings.named(order.by, "windows" if order.window else "sweeps") == "windows":
        return Schedule(cells, window, by_island)
    limit, width = settings.named(order.limit, None), settings.sweep_width
    if width == "auto":
        # One cell a pass where the image is the same whatever the width, all where it is not (SWEEP-6).
        width = 1 if limit is None and not by_island else None
    return Sweeps(cells, by_island, width, limit)


def steps(cells: Tensor, window: int | None, by_island: bool) -> list[Tensor]:
    """Return the steps of a set of cells, each decided in the earliest step that its waits allow (SCHED-1, SCHED-2).

    The whole grid with an infinite window is autoregressive decoding, with a finite one ZipAR; R_X with an
    infinite window is the paper's serial resampling, by island its parallel one.

    Args:
        cells: Bool[H, W].
        window: At least 1; None is infinite.
        by_island: Whether islands advance at the same time.

    Returns:
        One Int[n] a step: raster positions, ascending. Every cell is in exactly one step.

    Raises:
        ValueError: the window is below 1.
    """
    schedule = Schedule(cells, window, by_island)
    listed = []
    while ready := schedule.ready():
        schedule.decide(ready)
        listed.append(torch.tensor(ready))
    return listed
