"""What stood on a grid before each pass of a decode, as the passes are told one after the other."""

from collections.abc import Iterable
from typing import NamedTuple

from mulo_sd.reference.trace import Pass, Sweep

PREFILL = -1  # stands for a prefix token in a pass


class RowView(NamedTuple):
    """Who sees what in a pass that scores rows side by side (METHOD-5).

    Attributes:
        queried: {cell: row} of the cells that are scored.
        drafted: {cell: row} of the cells whose draft or stand-in the pass feeds.
        unsettled: Cells of the rows that are not decided.
        settled: Cells that are decided since the pass before, with the very draft that it fed: all see it now.
    """

    queried: dict[int, int]
    drafted: dict[int, int]
    unsettled: set[int]
    settled: set[int]


class Moment(NamedTuple):
    """One pass of one model, the prefill aside.

    Attributes:
        made: The pass.
        grid: {cell: token} just before it, draft tokens and guesses included.
        cells: The cells whose distributions are taken from it, ascending.
        decided: Cells that a query of the pass sees, and that no pass has fed since they were decided (KV-3).
        also: Further cells that KV-4, SWEEP-3 or METHOD-2 have it feed.
        rows: Of rows that are drafted side by side (METHOD-5), who sees what; None elsewhere.
    """

    made: Pass
    grid: dict[int, int]
    cells: list[int]
    decided: set[int]
    also: set[int]
    rows: "RowView | None" = None

    def token(self, cell: int, width: int) -> int:
        """Return the token of a cell, or where there is none the rightmost that its row holds (SCHED-3)."""
        row = cell // width
        return next(self.grid[u] for u in range(cell, row * width - 1, -1) if u in self.grid)

    def fed(self, prefix_length: int) -> dict[int, int]:
        """Return {cell: token} of what the pass feeds."""
        cells = (self.made.positions - prefix_length).tolist()
        return dict(zip(cells, self.made.tokens.tolist(), strict=True))


class Replay:
    """Moments in the making: a grid, and which of its tokens no pass has fed."""

    def __init__(self, passes: list[Pass]) -> None:
        """Start after the prefill, passes[0]."""
        self.passes, self.prefill, self.left = passes, passes[0], passes[1:]
        self.grid: dict[int, int] = {}
        self.decided: set[int] = set()  # decided, and not fed since (KV-3)
        self.unfed: set[int] = set()  # drafts and guesses that no pass has fed
        self.moments: list[Moment] = []
        self.opened = 0  # sweeps of cell 0 alone, which the prefill serves
        self.settled: set[int] = set()  # drafts of rows that were fed and are decided (METHOD-5)
        self.judged = 0  # windows and trees that passes tell

    def put(self, tokens: dict[int, int]) -> None:
        """Write drafts or guesses."""
        self.grid.update(tokens)
        self.unfed.update(tokens)
        self.decided.difference_update(tokens)

    def keep(self, cells: Iterable[int]) -> None:
        """Decide that drafts stay."""
        kept = self.unfed.intersection(cells)
        self.decided |= kept
        self.unfed -= kept

    def decide(self, cell: int, token: int) -> None:
        """Write a decided token that is still to be fed."""
        self.grid[cell] = token
        self.decided.add(cell)
        self.unfed.discard(cell)

    def source(self, cells: list[int]) -> Pass:
        """Return the pass that served the last of the cells: the one before, or for cell 0 alone the prefill."""
        return self.prefill if cells == [0] or not self.moments else self.moments[-1].made

    def step(self, cells: list[int], also: Iterable[int] = (), rows: RowView | None = None) -> None:
        """Take the next pass as the one that serves these cells; cell 0 alone is served by the prefill."""
        if cells == [0]:
            return
        assert self.left, f"expected a pass for cells {cells}, but the trace has no further one"
        seen, also = {cell for cell in self.decided if cell < cells[-1]}, set(also)
        self.moments.append(Moment(self.left.pop(0), dict(self.grid), cells, seen, also, rows))
        fed = seen | also | {cell - 1 for cell in cells if cell}
        self.decided -= fed
        self.unfed -= fed

    def told_sweep(self, cells: list[int], with_pass: bool) -> Sweep:
        """Return the trace's record of a sweep that the next pass serves, or without a pass the one before."""
        if cells == [0]:
            made, index = self.prefill, self.opened
            self.opened += 1
        else:
            assert self.left or not with_pass, f"expected a pass for cells {cells}, but the trace has no further one"
            made, index = (self.left[0] if with_pass else self.moments[-1].made), 0
            assert len(made.sweeps) == 1, f"expected one sweep of cells {cells}, but its pass tells {len(made.sweeps)}"
        assert index < len(made.sweeps), f"expected a sweep of cells {cells}, but the trace has no further one"
        sweep = made.sweeps[index]
        assert sweep.cells.tolist() == cells, f"expected a sweep of cells {cells}, got {sweep.cells.tolist()}"
        return sweep

    def finish(self) -> list[Moment]:
        """Return all moments; nothing of the trace is left."""
        assert not self.left, f"{len(self.left)} passes too many"
        assert self.opened == len(self.prefill.sweeps), "the prefill tells a sweep that is none"
        told = sum(len(item.speculated) + len(item.trees) for item in self.passes)
        assert self.judged == told, f"the trace tells {told} windows and trees of drafts, expected {self.judged}"
        return self.moments
