"""A state machine drives an engine's KV cache and its loop, against a plain Python model of what was written."""

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from mulo_sd.conformance.engines.cases import PROMPTS, SEED, SMALL_SETTINGS
from mulo_sd.conformance.engines.conditions import engine_condition
from mulo_sd.conformance.engines.engine_case import EngineCase, run
from mulo_sd.conformance.engines.engine_laws import same
from mulo_sd.conformance.rules.branches import must_reach, reach
from mulo_sd.conformance.rules.oracle_model import DictionaryModel
from mulo_sd.conformance.subject import Subject
from mulo_sd.engines.passes.transformer import TransformerSession
from mulo_sd.engines.service.hooks import Hooks


class CancelledError(Exception):
    """Raised out of the middle of a decode, as a service does whose caller has gone."""


class CacheMachine(RuleBasedStateMachine):
    """Feeds any cells in any order: rows appended, places written again, windows refreshed; the cache fills up."""

    subject: Subject
    model = 0

    def __init__(self) -> None:
        super().__init__()
        self.tokens: dict[int, int] = {}
        self.wrong: str | None = None

    @initialize(guided=st.booleans(), model=st.integers(0, 1))
    def start(self, guided: bool, model: int) -> None:
        """Feed the prefix."""
        pipeline, self.model = self.subject.pipeline, model
        case = EngineCase(self.subject, PROMPTS[0], SMALL_SETTINGS[0], SEED)
        both = guided and "guidance" in self.subject.capabilities
        transformer = self.subject.models.transformer(model)
        prefixes = case.condition.prefixes(transformer, 2.0 if both else 1.0)
        self.entry = pipeline.bundle.manifest.models[model]
        self.session = TransformerSession(pipeline.backend, self.entry, prefixes.numpy())
        self.oracles = [DictionaryModel(transformer, prefix) for prefix in prefixes]
        self.tolerance = case.rounding.logits
        self.cells = self.entry.grid_height * self.entry.grid_width
        expected = [list(oracle.feed_prefix().values()) for oracle in self.oracles]
        self._compare(self.session.prefill().logits(), expected, "the prefix")

    def _compare(self, logits: Any, expected: Any, what: str) -> None:
        off = float(np.abs(np.asarray(logits, dtype=np.float64) - np.asarray(expected)).max())
        assert off <= self.tolerance, f"after {what}: logits are off by {off:.3g}, expected at most {self.tolerance}"

    def _feed(self, pairs: dict[int, int], what: str) -> None:
        cells = np.array(sorted(pairs))
        compactions = self.session.slots.used + len(cells) > len(self.session.slots.ranks)
        logits = self.session.feed(cells, np.array([pairs[cell] for cell in cells.tolist()])).logits()
        first = self.entry.prefix_length
        expected = []
        for oracle in self.oracles:
            told = oracle.feed({first + cell: pairs[cell] for cell in cells.tolist()})
            expected.append([told[first + cell] for cell in cells.tolist()])
        self._compare(logits, expected, what)
        reach("compaction", compactions)
        reach("a scattered overwrite", any(cell in self.tokens for cell in pairs) and len(pairs) > 1)
        self.tokens |= pairs

    @rule(count=st.integers(1, 8), seed=st.integers(0, 2**16))
    def append(self, count: int, seed: int) -> None:
        """Feed the next cells in raster order, as far as there are any."""
        free = [cell for cell in range(self.cells) if cell not in self.tokens][:count]
        if free:
            tokens = np.random.default_rng(seed).integers(0, self.entry.vocabulary, len(free)).tolist()
            self._feed(dict(zip(free, tokens, strict=True)), f"appending {free}")

    @rule(cells=st.sets(st.integers(0, 1023), min_size=1, max_size=12), seed=st.integers(0, 2**16))
    def scatter(self, cells: set[int], seed: int) -> None:
        """Write cells anywhere, again or for the first time."""
        chosen = sorted({cell % self.cells for cell in cells})
        tokens = np.random.default_rng(seed).integers(0, self.entry.vocabulary, len(chosen)).tolist()
        self._feed(dict(zip(chosen, tokens, strict=True)), f"writing {chosen}")

    @precondition(lambda self: self.tokens)
    @rule(share=st.sampled_from((1.0, 0.5)))
    def refresh(self, share: float) -> None:
        """Feed what is held once more, as KV-4 does."""
        held = sorted(self.tokens)[: max(1, int(share * len(self.tokens)))]
        self._feed({cell: self.tokens[cell] for cell in held}, "a refresh")

    @rule(index=st.integers(0, len(SMALL_SETTINGS) - 1), after=st.integers(1, 60))
    def cancel_a_decode(self, index: int, after: int) -> None:
        """Stop another decode in its middle; it, too, is as if nothing had been when it runs again."""
        if SMALL_SETTINGS[index].mode not in self.subject.capabilities:
            return
        case = EngineCase(self.subject, PROMPTS[index % len(PROMPTS)], SMALL_SETTINGS[index], SEED)
        expected = run(case)

        def stop(done: int, total: int) -> None:
            if done >= after:
                raise CancelledError

        pipeline = self.subject.pipeline
        chosen = pipeline.settings(**vars(case.settings))
        with pytest.raises(CancelledError):
            pipeline.decode(engine_condition(case.condition), chosen, case.seed, hooks=Hooks(stop))
        assert same(case.run(), expected), "a cancelled decode changed the next one"
        reach("a decode is cancelled")

    @invariant()
    def slots_hold_each_position_once(self) -> None:
        """Every position written has exactly one living slot."""
        if not hasattr(self, "session"):
            return
        ranks = self.session.slots.ranks
        living = sorted(int(rank) for rank in ranks if rank != np.iinfo(np.int64).max)
        first = self.entry.prefix_length
        assert living == [*range(first), *(first + cell for cell in sorted(self.tokens))]


@must_reach("compaction", "a scattered overwrite", "a decode is cancelled")
def drive(subject: Subject, shrink: bool = True) -> None:
    """Run the machine on a subject; `shrink` looks for the shortest way to a failure, which takes minutes."""
    machine = type("Machine", (CacheMachine,), {"subject": subject})
    steps = settings(
        max_examples=max(20, settings().max_examples // 8),
        derandomize=settings().derandomize or not shrink,
        stateful_step_count=30,
        suppress_health_check=list(HealthCheck),
        deadline=None,
        phases=list(Phase) if shrink else [Phase.generate],
    )
    run_state_machine_as_test(machine, settings=steps)


def test_cache_and_loop(small_subject: Subject) -> None:
    """KV-1, KV-2, KV-3, KV-4, CONF-1, CONF-5: whatever is written in whatever order, logits are those of the model.

    A decode that is cancelled in the middle leaves nothing behind.
    """
    drive(small_subject)
