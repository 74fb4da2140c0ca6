"""The decoding loop of all modes over a backend; the engines' twin of `reference.decode`."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from mulo_sd.engines.backends.answers import run_for_tokens
from mulo_sd.engines.backends.base import Backend
from mulo_sd.engines.bundle import Bundle
from mulo_sd.engines.bundle.contract import down_sampler_graph, up_sampler_graph
from mulo_sd.engines.bundle.manifest import TransformerEntry
from mulo_sd.engines.condition import Condition
from mulo_sd.engines.loop.drafts import LastSweep, draft_source, tree_source
from mulo_sd.engines.loop.exact import verify_by_speculation, verify_exactly
from mulo_sd.engines.loop.execute import execute
from mulo_sd.engines.loop.speculate import Speculator
from mulo_sd.engines.loop.speculate_trees import speculate_trees
from mulo_sd.engines.loop.state import ModelState, Tokens
from mulo_sd.engines.loop.verify import Accepted, verify_locally
from mulo_sd.engines.numbers import token_grid
from mulo_sd.engines.parts import BY_ROWS
from mulo_sd.engines.rules.acceptances.accepted import Codes
from mulo_sd.engines.rules.corrections import correction_of
from mulo_sd.engines.rules.schedule import schedule_of
from mulo_sd.engines.rules.trace import Cycle, Proposal, Trace
from mulo_sd.engines.settings import Settings

# (cells of the image decided, cells of the image)
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Decoded:
    """A decoded image: tokens Int[H, W] and the trace of every pass and decision."""

    tokens: Tokens
    trace: Trace


class Decoder:
    """Decodes one image. Level 0 is the target, the last level the coarsest drafter (CASCADE-1)."""

    def __init__(
        self,
        bundle: Bundle,
        backend: Backend,
        condition: Condition,
        settings: Settings,
        seed: int,
        progress: Progress = lambda done, total: None,
        record_logits: bool = False,
        accepted: Accepted | None = None,
        step: Callable[["Decoder", ModelState], None] | None = None,
    ) -> None:
        """Prepare a decode.

        Args:
            bundle: Opened and checked.
            backend: Runs its graphs.
            condition: What to draw.
            settings: How to decode, from `Pipeline.settings`, which holds them against the bundle.
            seed: 0..2^64 - 1.
            progress: Told after every step of the target.
            record_logits: Keep the logits of every pass in the trace.
            accepted: Decides which draft tokens are accepted, at every level, for measurements.
            step: Called with the decoder and the model's state before every pass, prefills aside, and after every
                verification.
        """
        self.bundle, self.backend, self.accepted = bundle, backend, accepted
        self.settings, self.progress = settings, progress
        self.trace = Trace()
        self.codes = Codes(bundle.codes, np.ascontiguousarray(bundle.neighbours[:, : settings.neighbours]))
        self.states = [
            ModelState(
                backend=backend,
                entry=self._entry(number),
                number=number,
                condition=condition,
                null=bundle.null_conditions[number],
                settings=settings,
                seed=seed,
                trace=self.trace,
                record_logits=record_logits,
            )
            for number in settings.model_numbers
        ]
        if step is not None:
            for state in self.states:
                state.watch = partial(step, self)
        self.refresh_from = [0] * len(self.states)
        self.done = 0

    def _entry(self, number: int) -> TransformerEntry:
        """Return a model of the bundle; of the target the graph with branches and hidden states, where they count."""
        manifest = self.bundle.manifest
        if number == 0 and self.settings.decoding.needs_branches and manifest.branched is not None:
            return manifest.branched
        return manifest.models[number]

    def scale_ratio(self, level: int) -> int:
        """Return how many rows of `level` there are for each row of the level below (GRID-1)."""
        return self.states[level].height // self.states[level + 1].height

    def decode(self, draft: Tokens | None = None) -> Decoded:
        """Decode.

        Args:
            draft: Int[h, w], tokens to take instead of the coarsest drafter's (an oracle draft, say).

        Raises:
            ValueError: the draft has another shape than that drafter's grid, or nothing is drafted.
        """
        target, coarsest, settings = self.states[0], self.states[-1], self.settings
        if draft is not None and not settings.decoding.drafts:
            raise ValueError(f"draft: expected none in mode {settings.mode}, in which nothing is drafted")
        if draft is not None:
            shape = (coarsest.height, coarsest.width)
            draft = token_grid("draft", draft, coarsest.entry.vocabulary, shape)
        chunk = target.height
        if settings.decoding.by_rows:
            chunk = settings.draft_rows * self.scale_ratio(0)
        for first_row in range(0, target.height, chunk):
            self._decide_rows(0, first_row, min(first_row + chunk, target.height), draft)
        return Decoded(target.rows(0, target.height), self.trace)

    def _advance(self, level: int) -> Callable[[int], None]:
        """Return what a level tells of cells decided: only the target's make progress."""

        def advance(count: int) -> None:
            self.done += count
            self.progress(self.done, len(self.states[0].grid))

        return advance if level == 0 else lambda count: None

    def _decide_rows(self, level: int, first_row: int, last_row: int, given: Tokens | None) -> None:
        """Decide rows of a level's grid: draft them one level below, or at the last level sample them."""
        state, settings, advance = self.states[level], self.settings, self._advance(level)
        if level == len(self.states) - 1:
            self._sample_rows(level, first_row, last_row, given)
            return
        proposal = self._propose(level, first_row, last_row, given)
        mode = settings.decoding
        if level == 0 and mode.is_exact:
            verdict = verify_exactly(state, proposal, advance)
        elif mode.is_speculative if level == 0 else settings.refine_by == "rounds":
            verdict = verify_by_speculation(state, proposal, self.codes, advance)
        else:
            refreshed = range(self.refresh_from[level] * state.width, first_row * state.width)
            also_feed = refreshed if settings.refresh else range(0)
            how = (self.codes, mode.resampling, also_feed)
            verdict = verify_locally(state, proposal, *how, advance, self.accepted)
        self.refresh_from[level] = first_row
        down_sampled = self._down_sample(first_row, last_row) if level == 0 and last_row < state.height else None
        tokens = state.rows(first_row, last_row)
        self.trace.cycles.append(Cycle(**vars(proposal), **vars(verdict), tokens=tokens, down_sampled=down_sampled))

    def _sample_rows(self, level: int, first_row: int, last_row: int, given: Tokens | None) -> None:
        """Sample whole rows by a schedule (DRAFT-1, MODE-AR, MODE-ZIPAR), or take them from `given`."""
        state, settings = self.states[level], self.settings
        cells = range(first_row * state.width, last_row * state.width)
        if given is not None:
            state.propose(cells, given.ravel()[cells.start : cells.stop])
            return
        order = settings.decoding.coarsest
        mask = np.zeros((state.height, state.width), dtype=np.bool_)
        mask[first_row:last_row] = True
        if settings.decoding.has_tree:
            speculate_trees(state, cells, tree_source(state, self.bundle), self.codes, self._advance(level))
            return
        if level == 0 and settings.decoding.is_speculative:
            correction = correction_of(mask, settings.decoding.correction, settings)
            source, judging = draft_source(state, self.bundle), settings.decoding.judging
            Speculator(state, correction, source, self.codes, judging).run(self._advance(level))
            return
        if settings.named(order.by, None) == "rows":
            rows = correction_of(mask, "rows", settings)
            Speculator(state, rows, LastSweep(state), self.codes, BY_ROWS).run(self._advance(level))
            return
        schedule = schedule_of(mask, order, settings, state.auto_width)
        adaptive = settings.named(order.adaptive, False)
        execute(state, schedule, adaptive_window=adaptive, progress=self._advance(level))

    def _propose(self, level: int, first_row: int, last_row: int, given: Tokens | None) -> Proposal:
        """Draft one level below and up-sample: the proposal for rows of `level` (DRAFT-1, SCALE-1)."""
        state, low, ratio = self.states[level], self.states[level + 1], self.scale_ratio(level)
        low_first = first_row // ratio
        low_last = min(-(-last_row // ratio) + self.settings.look_ahead, low.height)
        self._decide_rows(level + 1, low_first, low_last, given)
        known = low.rows(0, low_last)
        # What was drafted ahead is context only: it leaves the pending set when it is drafted again.
        drafted = last_row
        for upper in range(level, len(self.states) - 1):
            drafted //= self.scale_ratio(upper)
            lower = self.states[upper + 1]
            lower.pending.difference_update(range(drafted * lower.width, len(lower.grid)))
        graph = up_sampler_graph(ratio, self.settings.up_sampler)
        shape, codes = (ratio * known.shape[0], state.width), state.entry.vocabulary
        high_tokens = run_for_tokens(self.backend, graph, {"low_tokens": known}, "high_tokens", shape, codes)
        proposal = high_tokens[first_row:last_row]
        state.propose(range(first_row * state.width, last_row * state.width), proposal.ravel())
        return Proposal(state.number, low.number, first_row, last_row, low_first, known[low_first:], proposal)

    def _down_sample(self, first_row: int, last_row: int) -> Tokens:
        """Replace the drafts of all levels by what D_r makes of the target's decided rows (SCALE-2).

        Returns:
            Int[rows, w], the new rows of the first drafter.
        """
        replaced = []
        for upper in range(len(self.states) - 1):
            ratio, high, low = self.scale_ratio(upper), self.states[upper], self.states[upper + 1]
            first_row, last_row = first_row // ratio, last_row // ratio
            if last_row > 0:
                graph = down_sampler_graph(ratio, self.settings.down_sampler)
                shape, codes = (last_row, low.width), low.entry.vocabulary
                decided = {"high_tokens": high.rows(0, last_row * ratio)}
                low_tokens = run_for_tokens(self.backend, graph, decided, "low_tokens", shape, codes)
                rows = low_tokens[first_row:]
                low.decide(range(first_row * low.width, last_row * low.width), rows.ravel())
                replaced.append(rows)
        return replaced[0]
