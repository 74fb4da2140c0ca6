"""A decode replayed from its trace: what the grid held before each pass, and which cells were then decided."""

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from mulo_sd.conformance.rules import oracles
from mulo_sd.conformance.rules.decode_case import DecodeCase
from mulo_sd.conformance.rules.sweeping import Part, Round, Sweeping, plan_of
from mulo_sd.reference.decode import Decoded
from mulo_sd.reference.trace import Cycle, Pass, Sweep

PREFILL = -1  # stands for a prefix token in a pass


class Moment(NamedTuple):
    """One pass of one model, the prefill aside.

    Attributes:
        made: The pass.
        grid: {cell: token} just before it, draft tokens and guesses included.
        cells: The cells whose distributions are taken from it, ascending.
        decided: Cells that a query of the pass sees, and that no pass has fed since they were decided (KV-3).
        also: Further cells that KV-4 or SWEEP-3 have it feed.
    """

    made: Pass
    grid: dict[int, int]
    cells: list[int]
    decided: set[int]
    also: set[int]

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
        self.prefill, self.left = passes[0], passes[1:]
        self.grid: dict[int, int] = {}
        self.decided: set[int] = set()  # decided, and not fed since (KV-3)
        self.unfed: set[int] = set()  # drafts and guesses that no pass has fed
        self.moments: list[Moment] = []
        self.opened = 0  # sweeps of cell 0 alone, which the prefill serves

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

    def step(self, cells: list[int], also: Iterable[int] = ()) -> None:
        """Take the next pass as the one that serves these cells; cell 0 alone is served by the prefill."""
        if cells == [0]:
            return
        assert self.left, f"expected a pass for cells {cells}, but the trace has no further one"
        seen, also = {cell for cell in self.decided if cell < cells[-1]}, set(also)
        self.moments.append(Moment(self.left.pop(0), dict(self.grid), cells, seen, also))
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
        return self.moments


def passes_of(decoded: Decoded, model: int) -> list[Pass]:
    """Return a model's passes, its prefill first."""
    return [item for item in decoded.trace.passes if item.model == model]


def resampled_cells(cycle: Cycle, width: int) -> list[int]:
    """Return R_X of a cycle as raster positions of the whole grid."""
    cells: list[int] = cycle.resampled.flatten().nonzero().flatten().tolist()
    return [cycle.first_row * width + cell for cell in cells]


class Told:
    """One model's part of a decode, from its trace.

    Attributes:
        rounds: Of each cycle that the model drafts for or resamples in, the steps or sweeps; under None where the
            target alone decodes.
    """

    def __init__(self, case: DecodeCase, decoded: Decoded, model: int) -> None:
        self.case, self.decoded, self.model, self.settings = case, decoded, model, case.settings
        self.height, self.width = case.grid(model)
        self.replay = Replay(passes_of(decoded, model))
        self.before = 0  # first row of the model's previous window
        self.rounds: list[tuple[Cycle | None, list[Round]]] = []

    def moments(self) -> list[Moment]:
        """Tell all of it."""
        if not self.settings.decoding.drafts:
            self._undrafted(dict(enumerate(self.decoded.tokens.flatten().tolist())))
            return self.replay.finish()
        replaced = replaced_rows(self.case, self.decoded, self.model) if self.model else []
        for index, group in enumerate(cycles_together(self.decoded)):
            for cycle in group:
                if cycle.model == self.model:
                    self._verify(cycle)
                elif cycle.draft_model == self.model and self.model == self.settings.model_numbers[-1]:
                    self._draft(cycle)
            if self.model:  # what was drafted ahead is no decision, and D_r replaces the rest
                self.replay.decided.clear()
                first_row, rows = replaced[index]
                for cell, token in enumerate(rows.flatten().tolist(), start=first_row * self.width):
                    self.replay.decide(cell, token)
        return self.replay.finish()

    def _undrafted(self, tokens: dict[int, int]) -> None:
        if self.settings.named(self.settings.decoding.coarsest.adaptive, False):
            self._sample_adaptively(tokens)
        else:
            self._decide(None, "alone", tokens)

    def _decide(self, cycle: Cycle | None, part: Part, tokens: dict[int, int], served: bool = False) -> None:
        """Tell how cells became their tokens; `served` by the pass before is the first step or sweep (SCHED-4)."""
        plan = plan_of(self.settings, part)
        if plan.by_sweeps:
            rounds = self._sweeps(Sweeping(set(tokens), self.width, plan), served)
            final = {cell: item.samples[cell] for item in rounds for cell in item.decided}
            assert final == tokens, f"sweeps decide {final}, but the grid holds {tokens}"
        else:
            steps = oracles.schedule(set(tokens), plan.window, self.width, plan.by_island)
            rounds = [self._step(cells, tokens, with_pass=index > 0 or not served) for index, cells in enumerate(steps)]
        self.rounds.append((cycle, rounds))

    def _step(self, cells: list[int], tokens: dict[int, int], with_pass: bool = True) -> Round:
        if with_pass:
            self.replay.step(cells)
        for cell in cells:
            self.replay.decide(cell, tokens[cell])
        return Round(cells, self.replay.source(cells), {cell: tokens[cell] for cell in cells}, set(cells))

    def _sweeps(self, sweeping: Sweeping, served: bool) -> list[Round]:
        rounds: list[Round] = []
        while sweeping.undecided:
            with_pass = bool(rounds) or not served
            rounds.append(self._sweep(sweeping, with_pass))
        return rounds

    def _sweep(self, sweeping: Sweeping, with_pass: bool) -> Round:
        """Tell one sweep: what it guesses and feeds, and what it decides (SWEEP-1 to SWEEP-5)."""
        replay = self.replay
        serving = replay.left if with_pass else [replay.moments[-1].made]
        swept = sweeping.swept(serving[0] if serving else None)
        cells = sorted(cell for region in swept for cell in region)
        sweep = replay.told_sweep(cells, with_pass)
        guesses, samples = (dict(zip(cells, tokens.tolist(), strict=True)) for tokens in (sweep.guesses, sweep.samples))
        bare = {cell for region in swept for cell in region[:-1] if cell not in replay.grid}
        if with_pass:
            replay.put({cell: guesses[cell] for cell in bare})
            seen = {cell for region in swept for cell in region[:-1]}
            seen |= {region[-1] for region in swept if region[-1] in replay.unfed and region[-1] < cells[-1]}
            replay.step(cells, seen)
        standing = {cell: replay.grid.get(cell, -1) for cell in cells}
        assert guesses == standing, f"cells {cells}: the sweep tells guesses {guesses}, but the grid holds {standing}"
        source, grid = replay.source(cells), dict(replay.grid)
        fed = set((source.positions - self.case.prefix_length).tolist())
        decided = sweeping.settle(swept, sweep)
        for cell in cells:
            if cell not in decided and samples[cell] != guesses[cell]:
                replay.put({cell: samples[cell]})
            elif cell in decided and not (cell in fed and samples[cell] == guesses[cell]):
                replay.decide(cell, samples[cell])
        return Round(cells, source, samples, decided, sweep, frozenset(bare), grid)

    def _sample_adaptively(self, tokens: dict[int, int]) -> None:
        """Tell SCHED-5: an open row's first token is decided once a second prediction accepts it."""
        undecided, window = set(tokens), math.inf if self.settings.window is None else self.settings.window
        while undecided:
            ready = [
                cell
                for cell in sorted(undecided)
                if not any(oracles.waits(cell, other, window, self.width) for other in undecided if other < cell)
            ]
            self.replay.step(ready)
            made = self.replay.moments[-1].made.repredicted if self.replay.moments else []
            accepted = {item.cell for item in made if item.kept}
            decided = [cell for cell in ready if cell == 0 or cell - 1 in self.replay.grid or cell in accepted]
            for cell in decided:
                self.replay.decide(cell, tokens[cell])
            undecided.difference_update(decided)

    def _draft(self, cycle: Cycle) -> None:
        """Tell DRAFT-1, from the cycle that the rows are drafted for."""
        first = cycle.draft_first_row * self.width
        if self.case.draft is None:
            self._decide(cycle, "draft", dict(enumerate(cycle.draft_tokens.flatten().tolist(), start=first)))

    def _verify(self, cycle: Cycle) -> None:
        window = range(cycle.first_row * self.width, cycle.last_row * self.width)
        tokens = dict(zip(window, cycle.tokens.flatten().tolist(), strict=True))
        self.replay.put(dict(zip(window, cycle.up_sampled.flatten().tolist(), strict=True)))
        if self.settings.decoding.is_exact and self.model == 0:
            self._decide(cycle, "exact", tokens)
            return
        also = range(self.before * self.width, window.start) if self.settings.refresh else range(0)
        self.replay.step(list(window), also)
        self.before = cycle.first_row
        resampled = set(resampled_cells(cycle, self.width))
        self.replay.keep(set(window) - resampled)
        self._decide(cycle, "resample", {cell: tokens[cell] for cell in resampled}, served=True)


def rounds_of(case: DecodeCase, decoded: Decoded, model: int) -> list[tuple[Cycle | None, list[Round]]]:
    """Return the steps and sweeps in which a model decided cells: by cycle, or under None for the whole grid."""
    told = Told(case, decoded, model)
    told.moments()
    return told.rounds


def cycles_together(decoded: Decoded) -> list[list[Cycle]]:
    """Return each cycle of the target after the drafters' cycles that it uses, the coarsest one's first."""
    groups: list[list[Cycle]] = [[]]
    for cycle in decoded.trace.cycles:
        groups[-1].append(cycle)
        if cycle.model == 0:
            groups.append([])
    assert not groups.pop(), "a drafter's cycle that no cycle of the target uses"
    return groups


def replaced_rows(case: DecodeCase, decoded: Decoded, model: int) -> list[tuple[int, Tensor]]:
    """Return the rows of a drafter that D_r replaces after each cycle of the target: the first and Int[rows, w].

    The first drafter's stand in the trace; those of coarser ones are D_r of the rows above them.
    """
    models, numbers = case.models, case.settings.model_numbers
    known = torch.empty(0, case.grid(numbers[1])[1], dtype=torch.long)
    replaced = []
    for cycle in decoded.trace.cycles_of(0):
        if cycle.down_sampled is None:
            replaced.append((0, torch.empty(0, dtype=torch.long)))
            continue
        known = torch.cat([known, cycle.down_sampled])
        rows, first_row = known, len(known) - len(cycle.down_sampled)
        for upper, lower in pairwise(numbers[1 : numbers.index(model) + 1]):
            ratio = models.scale_ratio(upper, lower)
            first_row, rows = first_row // ratio, rows[: len(rows) // ratio * ratio]
            rows = models.down_sample(case.settings.down_sampler, rows, ratio) if len(rows) else rows[:, ::ratio]
        replaced.append((first_row, rows[first_row:]))
    return replaced


def moments_of(case: DecodeCase, decoded: Decoded, model: int) -> list[Moment]:
    """Tell a model's part of a decode."""
    return Told(case, decoded, model).moments()
