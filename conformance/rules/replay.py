"""A decode replayed from its trace: what the grid held before each pass, and which cells were then decided."""

import math
from itertools import pairwise

import torch
from torch import Tensor

from mulo_sd.conformance.rules import oracles
from mulo_sd.conformance.rules.decode_case import DecodeCase
from mulo_sd.conformance.rules.moments import Moment, Replay
from mulo_sd.conformance.rules.speculating import BY_ROWS, IN_ROUNDS, Judged, Method, Speculating, TreeJudged, method_of
from mulo_sd.conformance.rules.speculation_replay import SpeculationReplay, tell_trees
from mulo_sd.conformance.rules.sweeping import Part, Round, Sweeping, plan_of
from mulo_sd.reference.decode import Decoded
from mulo_sd.reference.trace import Cycle, Pass

# Models that draft on the target's own grid (RNG-2).
HEAD, BLOCK = 9, 10


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
        speculations: Likewise the passes that judged drafts, with the method, and what each made of its windows.
        trees: What passes made of trees.
    """

    def __init__(self, case: DecodeCase, decoded: Decoded, model: int) -> None:
        self.case, self.decoded, self.model, self.settings = case, decoded, model, case.settings
        self.height, self.width = case.grid(model)
        self.replay = Replay(passes_of(decoded, model))
        self.before = 0  # first row of the model's previous window
        self.rounds: list[tuple[Cycle | None, list[Round]]] = []
        self.speculations: list[tuple[Cycle | None, Method, list[list[Judged]]]] = []
        self.trees: list[TreeJudged] = []

    @property
    def judging_passes(self) -> int:
        """How many passes judged drafts; cell 0 alone comes from the prefill."""
        windows = [passes for _, _, told in self.speculations for passes in told]
        alone = [[window.window.cells for window in judged] == [[0]] for judged in windows]
        return alone.count(False) + sum(item.cells[0] != 0 for item in self.trees)

    @property
    def drafting_models(self) -> set[int]:
        """The numbers of what drafts on the target's own grid (RNG-2): a head is 9, a block drafter 10."""
        match self.settings.decoding.draft:
            case "head" | "tree" | "static-tree":
                return {HEAD}
            case "block":
                return {BLOCK}
        return set()

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
        if self.settings.decoding.has_tree:
            self.trees = tell_trees(self.replay, sorted(tokens))
            final = {
                cell: token
                for item in self.trees
                for cell, token in zip(item.cells, item.told.decided.tolist(), strict=True)
            }
            assert final == tokens, f"trees decide {final}, but the grid holds {tokens}"
        elif self.settings.decoding.is_speculative:
            self._speculate(None, method_of(self.settings), tokens)
        elif self.settings.named(self.settings.decoding.coarsest.adaptive, False):
            self._sample_adaptively(tokens)
        else:
            self._decide(None, "alone", tokens)

    def _speculate(
        self, cycle: Cycle | None, method: Method, tokens: dict[int, int], proposal: dict[int, int] | None = None
    ) -> None:
        """Tell how cells became their tokens by drafts that are judged pass by pass (METHOD-2 to METHOD-5)."""
        replayed = SpeculationReplay(self.replay, self.case.prefix_length, self.model == 0, proposal)
        passes = replayed.run(Speculating(sorted(tokens), self.width, self.settings, method))
        final = {
            cell: token
            for windows in passes
            for item in windows
            for cell, token in zip(item.window.cells[: item.decided], item.told.tokens.tolist(), strict=False)
        }
        assert final == tokens, f"passes decide {final}, but the grid holds {tokens}"
        self.speculations.append((cycle, method, passes))

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
        tokens = dict(enumerate(cycle.draft_tokens.flatten().tolist(), start=first))
        if self.case.draft is None and self.settings.draft_by == "rows":
            self._speculate(cycle, BY_ROWS, tokens)
        elif self.case.draft is None:
            self._decide(cycle, "draft", tokens)

    def _verify(self, cycle: Cycle) -> None:
        window = range(cycle.first_row * self.width, cycle.last_row * self.width)
        tokens = dict(zip(window, cycle.tokens.flatten().tolist(), strict=True))
        self.replay.put(dict(zip(window, cycle.up_sampled.flatten().tolist(), strict=True)))
        if self.settings.decoding.is_exact and self.model == 0:
            self._decide(cycle, "exact", tokens)
            return
        in_rounds = self.model > 0 and self.settings.refine_by == "rounds"
        if in_rounds or (self.settings.decoding.is_speculative and self.model == 0):
            method, drafted = IN_ROUNDS if in_rounds else method_of(self.settings), cycle.up_sampled.flatten().tolist()
            proposal = None if method.correction == "rounds" else dict(zip(window, drafted, strict=True))
            self._speculate(cycle, method, tokens, proposal)
            return
        also = range(self.before * self.width, window.start) if self.settings.refresh else range(0)
        self.replay.step(list(window), also)
        self.before = cycle.first_row
        resampled = set(resampled_cells(cycle, self.width))
        self.replay.keep(set(window) - resampled)
        self._decide(cycle, "resample", {cell: tokens[cell] for cell in resampled}, served=True)


def told_of(case: DecodeCase, decoded: Decoded, model: int) -> Told:
    """Return all that a model's passes tell."""
    told = Told(case, decoded, model)
    told.moments()
    return told


def rounds_of(case: DecodeCase, decoded: Decoded, model: int) -> list[tuple[Cycle | None, list[Round]]]:
    """Return the steps and sweeps in which a model decided cells: by cycle, or under None for the whole grid."""
    return told_of(case, decoded, model).rounds


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
