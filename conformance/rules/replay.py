"""A decode replayed from its trace: what the grid held before each pass, and which cells were then decided."""

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from mulo_sd.conformance.rules import oracles
from mulo_sd.conformance.rules.decode_case import DecodeCase
from mulo_sd.reference.decode import Decoded
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.trace import Cycle, Pass

PREFILL = -1  # stands for a prefix token in a pass


class Moment(NamedTuple):
    """One pass of one model, the prefill aside.

    Attributes:
        made: The pass.
        grid: {cell: token} just before it, draft tokens included.
        cells: The cells whose distributions are taken from it, ascending.
        decided: Cells decided since the model's previous pass that no pass has fed since (KV-3).
        also: Further cells that KV-4 has it feed.
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
        if cells == [0] and not self.decided:
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


class Told:
    """One model's part of a decode, from its trace."""

    def __init__(self, case: DecodeCase, decoded: Decoded, model: int) -> None:
        self.case, self.decoded, self.model, self.settings = case, decoded, model, case.settings
        self.height, self.width = case.grid(model)
        self.replay = Replay(passes_of(decoded, model))
        self.before = 0  # first row of the model's previous window

    def moments(self) -> list[Moment]:
        """Tell all of it."""
        if not self.settings.decoding.drafts:
            self._undrafted()
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

    def _undrafted(self) -> None:
        drawing, tokens = self.settings.decoding.coarsest, self.decoded.tokens.flatten().tolist()
        if self.settings.named(drawing.adaptive, False):
            self._sample_adaptively(dict(enumerate(tokens)))
            return
        window = self.settings.named(drawing.window, None)
        for cells in oracles.schedule(set(range(len(tokens))), window, self.width, by_island=False):
            self._sample(cells, {cell: tokens[cell] for cell in cells})

    def _sample(self, cells: list[int], tokens: dict[int, int], with_pass: bool = True) -> None:
        if with_pass:
            self.replay.step(cells)
        for cell in cells:
            self.replay.decide(cell, tokens[cell])

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
        cells = range(
            cycle.draft_first_row * self.width, cycle.draft_first_row * self.width + cycle.draft_tokens.numel()
        )
        tokens = dict(zip(cells, cycle.draft_tokens.flatten().tolist(), strict=True))
        if self.case.draft is None:
            for step in draft_steps(self.case, cycle):
                self._sample(step, tokens)

    def _verify(self, cycle: Cycle) -> None:
        window = range(cycle.first_row * self.width, cycle.last_row * self.width)
        tokens = dict(zip(window, cycle.tokens.flatten().tolist(), strict=True))
        self.replay.put(window, cycle.up_sampled.flatten().tolist())
        if self.settings.decoding.is_exact and self.model == 0:
            self._verify_exactly(window, cycle.kept.flatten().tolist(), tokens)
            return
        also = range(self.before * self.width, window.start) if self.settings.refresh else range(0)
        self.replay.step(list(window), set(also))
        self.before = cycle.first_row
        resampled = resampled_cells(cycle, self.width)
        if window[-1] not in resampled:
            self.replay.decided.add(window[-1])  # the only kept draft token that the verification had no need to feed
        for index, step in enumerate(resampling_steps(self.settings, cycle, self.width)):
            self._sample(step, tokens, with_pass=index > 0)

    def _verify_exactly(self, window: range, kept: list[bool], tokens: dict[int, int]) -> None:
        """Tell MODE-EXACT: each pass scores what is left, and serves up to the first rejection."""
        cell, most = window.start, self.settings.exact_window or len(window)
        while cell < window.stop:
            scored = range(cell, min(cell + most, window.stop))
            self.replay.step(list(scored))
            rejected = next((u for u in scored if not kept[u - window.start]), None)
            if rejected is None:
                self.replay.decided.add(scored[-1])
            else:
                self.replay.decide(rejected, tokens[rejected])
            cell = (scored[-1] if rejected is None else rejected) + 1


def draft_steps(case: DecodeCase, cycle: Cycle) -> list[list[int]]:
    """Return the steps in which the coarsest drafter samples the rows of a cycle that it drafts for (DRAFT-1)."""
    width = cycle.draft_tokens.shape[1]
    start = cycle.draft_first_row * width
    cells = set(range(start, start + cycle.draft_tokens.numel()))
    return oracles.schedule(cells, case.settings.draft_window, width, by_island=False)


def resampling_steps(settings: Settings, cycle: Cycle, width: int) -> list[list[int]]:
    """Return the steps in which R_X of a cycle is resampled (MODE-SERIAL, MODE-PARALLEL)."""
    correction = settings.decoding.correction
    window, by_island = settings.named(correction.window, None), settings.named(correction.by_island, False)
    return oracles.schedule(set(resampled_cells(cycle, width)), window, width, by_island)


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
