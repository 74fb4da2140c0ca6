"""A decode told again from its trace: what the grid held before each pass, and which cells were then decided."""

from typing import NamedTuple

from conformance.strategies.decodes import Case
from reference.decode import Decoded
from reference.trace import Cycle, Pass

PREFILL = -1  # stands for a prefix token in a pass


class Moment(NamedTuple):
    """One pass of one model, the prefill aside.

    Attributes:
        made: The pass.
        grid: {cell: token} just before it.
        cells: The cells whose distributions are taken from it, ascending.
        decided: Cells decided since the model's previous pass that no pass has fed since (KV-3).
        also: Further cells that KV-4 has it feed.
    """

    made: Pass
    grid: dict[int, int]
    cells: list[int]
    decided: set[int]
    also: set[int]

    def fed(self, prefix_length: int) -> dict[int, int]:
        """Return {cell: token} of what the pass feeds."""
        cells = (self.made.positions - prefix_length).tolist()
        return dict(zip(cells, self.made.tokens.tolist(), strict=True))


class Replay:
    """Moments in the making: a grid and what was decided on it since the last pass."""

    def __init__(self, passes: list[Pass]) -> None:
        """Start after the prefill, passes[0]."""
        self.left = passes[1:]
        self.grid: dict[int, int] = {}
        self.decided: set[int] = set()
        self.moments: list[Moment] = []

    def put(self, cells: range, tokens: list[int]) -> None:
        self.grid.update(zip(cells, tokens, strict=True))

    def decide(self, cell: int, token: int) -> None:
        self.grid[cell] = token
        self.decided.add(cell)

    def step(self, cells: list[int], also: set[int] | None = None) -> None:
        """Take the next pass as the one that serves these cells; cell 0 alone is served by the prefill."""
        if cells == [0]:
            return
        assert self.left, f"expected a pass for cells {cells}, but the trace has no further one"
        self.moments.append(Moment(self.left.pop(0), dict(self.grid), cells, self.decided, also or set()))
        self.decided = set()

    def finish(self) -> list[Moment]:
        assert not self.left, f"{len(self.left)} passes too many"
        return self.moments


def passes_of(decoded: Decoded, model: int) -> list[Pass]:
    """Return a model's passes, its prefill first."""
    return [item for item in decoded.trace.passes if item.model == model]


def resampled_cells(cycle: Cycle, width: int) -> list[int]:
    """Return R_X of a cycle as raster positions of the whole grid."""
    cells: list[int] = cycle.resampled.flatten().nonzero().flatten().tolist()
    return [cycle.first_row * width + cell for cell in cells]


def autoregressive_moments(case: Case, decoded: Decoded) -> list[Moment]:
    """Tell MODE-AR: one cell a pass."""
    replay = Replay(passes_of(decoded, 0))
    for cell, token in enumerate(decoded.tokens.flatten().tolist()):
        replay.step([cell])
        replay.decide(cell, token)
    return replay.finish()


def target_moments(case: Case, decoded: Decoded) -> list[Moment]:
    """Tell the target's part of MODE-SERIAL: in a cycle a verification, then a pass for each resampled cell but one."""
    width = case.toy.target_width
    replay = Replay(passes_of(decoded, 0))
    before = range(0)
    for cycle in decoded.trace.cycles_of(0):
        window = range(cycle.first_row * width, cycle.last_row * width)
        tokens = dict(zip(window, cycle.tokens.flatten().tolist(), strict=True))
        replay.put(window, cycle.up_sampled.flatten().tolist())
        replay.step(list(window), set(before) if case.settings.refresh else set())
        resampled = resampled_cells(cycle, width)
        if window[-1] not in resampled:
            replay.decided.add(window[-1])  # the only kept draft token that the verification had no need to feed
        for index, cell in enumerate(resampled):
            if index > 0:
                replay.step([cell])
            replay.decide(cell, tokens[cell])
        before = window
    return replay.finish()


def drafter_moments(case: Case, decoded: Decoded) -> list[Moment]:
    """Tell the drafter's part of MODE-SERIAL: one pass for each drafted cell, except cell 0 of the first cycle."""
    width = case.toy.width
    replay = Replay(passes_of(decoded, 1))
    for cycle in decoded.trace.cycles_of(0):
        drafted = cycle.draft_tokens.flatten().tolist()
        for cell, token in enumerate(drafted if case.draft is None else [], start=cycle.draft_first_row * width):
            replay.step([cell])
            replay.decide(cell, token)
        replay.decided.clear()
        if cycle.down_sampled is not None:
            for cell, token in enumerate(cycle.down_sampled.flatten().tolist(), start=cycle.draft_first_row * width):
                replay.decide(cell, token)
    return replay.finish()


def moments_of(case: Case, decoded: Decoded, model: int) -> list[Moment]:
    """Tell a model's part of a decode."""
    if case.settings.mode == "ar":
        return autoregressive_moments(case, decoded)
    return drafter_moments(case, decoded) if model else target_moments(case, decoded)
