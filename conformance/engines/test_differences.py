"""The comparison itself: a decision changed by hand is found, named, and not excused."""

import copy
import dataclasses
import re
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from mulo_sd import engines
from mulo_sd.conformance.engines.cases import CASES, PROMPTS, SEED, Case
from mulo_sd.conformance.engines.differences import Differences
from mulo_sd.conformance.engines.reference_side import ReferenceSide
from mulo_sd.conformance.engines.replay import array
from mulo_sd.conformance.subject import Subject
from mulo_sd.engines.rules.trace import Cycle, Pass, Reprediction, Sweep, Trace
from mulo_sd.reference.decode import Decoded

# They change decodes of the demo, which take the eager reference seconds.
pytestmark = pytest.mark.thorough
BY_NAME = {case.name: case for case in CASES}


def engine_trace(decoded: Decoded) -> Trace:
    """Return a reference's trace as if an engine had made it."""
    passes = [
        Pass(
            made.model,
            array(made.positions).copy(),
            array(made.tokens).copy(),
            sampled=list(made.sampled),
            repredicted=[Reprediction(**vars(item)) for item in made.repredicted],
            sweeps=[
                Sweep(**{name: array(value).copy() for name, value in vars(sweep).items()}) for sweep in made.sweeps
            ],
        )
        for made in decoded.trace.passes
    ]
    cycles = [
        Cycle(
            **{name: value.numpy().copy() if hasattr(value, "numpy") else value for name, value in vars(cycle).items()}
        )
        for cycle in decoded.trace.cycles
    ]
    return Trace(passes, cycles)


class Compared:
    """A decode of the reference with logits, and its comparison with a changed copy of itself."""

    def __init__(self, pipeline: engines.Pipeline, reference_side: ReferenceSide, case: Case) -> None:
        self.pipeline, self.models = pipeline, reference_side.models
        self.settings = reference_side.settings(pipeline, case)
        prompt = PROMPTS[CASES.index(case) % case.prompts]  # the decode that teacher forcing replays
        self.decoded = reference_side.decode(prompt, SEED, self.settings, record_logits=True)

    def explain(self, change: Callable[[Trace], object]) -> list[str]:
        """Change the trace and compare."""
        trace = copy.deepcopy(engine_trace(self.decoded))
        change(trace)
        decoded = self.decoded
        differences = Differences(self.pipeline, self.models, self.settings, SEED, trace, decoded, lambda: decoded)
        return differences.explain()


@pytest.fixture(scope="module")
def compared(demo_subject: Subject) -> Callable[[str], Compared]:
    """Compared decodes by the name of their case."""
    side = ReferenceSide(demo_subject.models)
    return cache(lambda name: Compared(demo_subject.pipeline, side, BY_NAME[name]))


def passes_with(trace: Trace, kind: str) -> list[int]:
    """Return the passes from which something of a kind was drawn."""
    return [number for number, made in enumerate(trace.passes) if getattr(made, kind)]


def change_draw(which: int) -> Callable[[Trace], None]:
    """Return a change of one token drawn from one pass."""

    def change(trace: Trace) -> None:
        drawn = trace.passes[passes_with(trace, "sampled")[which]].sampled
        row, cell, token = drawn[-1]
        drawn[-1] = (row, cell, (token + 1) % 1024)

    return change


def change_sweep(name: str) -> Callable[[Trace], None]:
    """Return a change of one entry of the target's second sweep."""

    def change(trace: Trace) -> None:
        sweeps = [sweep for made in trace.passes if made.model == 0 for sweep in made.sweeps]
        values = getattr(sweeps[1], name)
        values[0] = 1 - values[0]

    return change


def change_reprediction(**changes: object) -> Callable[[Trace], None]:
    """Return a change of the first reprediction that drew another token."""

    def change(trace: Trace) -> None:
        events = next(made.repredicted for made in trace.passes if any(not item.kept for item in made.repredicted))
        rejected = next(index for index, item in enumerate(events) if not item.kept)
        events[rejected] = dataclasses.replace(events[rejected], **changes)  # type: ignore[arg-type]

    return change


def change_cycle(which: int, name: str, index: int, value: object) -> Callable[[Trace], None]:
    """Return a change of one entry of a cycle's array."""

    def change(trace: Trace) -> None:
        values = getattr(trace.cycles[which], name)
        assert values.flat[index] != value
        values.flat[index] = value

    return change


def flip(which: int, name: str, certain: float) -> Callable[[Trace], None]:
    """Return a change of an acceptance whose pooled probability is far from tau, or from U."""

    def change(trace: Trace) -> None:
        cycle = trace.cycles[which]
        closest = int(np.abs(cycle.pooled_probs - certain).argmin())
        getattr(cycle, name).flat[closest] ^= True

    return change


def feed_another_token(model: int, which: int) -> Callable[[Trace], None]:
    """Return a change of the first token that one pass of a model feeds."""

    def change(trace: Trace) -> None:
        made = [item for item in trace.passes if item.model == model][which]
        made.tokens[0] = (made.tokens[0] + 1) % 1024

    return change


def feed_elsewhere(trace: Trace) -> None:
    """Feed the first token of the last pass one position before its own."""
    trace.passes[-1].positions[0] -= 1


def down_sample_otherwise(is_fed: bool) -> Callable[[Trace], None]:
    """Return a change of a code of D_r after the target's first cycle, and of the passes that feed it."""

    def change(trace: Trace) -> None:
        cycle = trace.cycles_of(0)[0]
        assert cycle.down_sampled is not None
        old, new, rows = int(cycle.down_sampled[0, 0]), (int(cycle.down_sampled[0, 0]) + 1) % 1024, cycle.down_sampled
        rows[0, 0] = new
        position = len(next(item for item in trace.passes if item.model == 1).positions)  # of cell 0
        for made in trace.passes[cycle.verify_pass :] if is_fed else ():
            made.tokens[(made.positions == position) & (made.tokens == old) & (made.model == 1)] = new

    return change


@pytest.mark.parametrize("name", ["serial-cascade", "parallel-cascade", "zipar-adaptive", "exact-cascade"])
def test_equal_traces(compared: Callable[[str], Compared], name: str) -> None:
    """Nothing is found where nothing differs."""
    assert compared(name).explain(lambda trace: None) == []


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("serial-cascade", change_draw(40), r"pass \d+, cell \d+: sampled \d+, the reference \d+: no near"),
        ("serial-cascade", change_draw(0), r"pass \d+, cell 0: sampled"),
        ("serial-cascade", lambda trace: trace.passes[-1].sampled.pop(), r"pass \d+: sampled: other cells"),
        ("serial-cascade", flip(1, "kept", 1.0), r"pass \d+, cell \d+: acceptance, pooled .* against tau 0.2: no near"),
        ("serial-cascade", flip(2, "kept", 0.0), r"pass \d+, cell \d+: acceptance, pooled .*: no near-tie"),
        ("serial-cascade", flip(1, "resampled", 1.0), r"cycle 1: other cells are resampled, and no decision"),
        (
            "serial-cascade",
            change_cycle(1, "radii", 5, 9),
            r"pass \d+, cell 5: radius 9, the reference \d: no near-tie",
        ),
        (
            "serial-cascade",
            change_cycle(1, "radii", 5, -1),
            r"pass \d+, cell 5: radius -1, the reference \d: no near-tie",
        ),
        ("serial-cascade", change_cycle(3, "up_sampled", 7, 1023), r"cycle 3: U_r at row 12, column 7.*: no near-tie"),
        ("serial-cascade", change_cycle(1, "draft_tokens", 7, 1023), r"cycle 1: the drafts differ"),
        ("serial-cascade", change_cycle(1, "tokens", 3, 1023), r"cycle 1: tokens differ, and no decision does"),
        (
            "serial-cascade",
            feed_another_token(0, -1),
            r"pass \d+ of model 0: feeds other tokens at cells .*no decision",
        ),
        ("serial-cascade", feed_another_token(1, 2), r"pass \d+ of model 1: feeds other tokens at cells .*no decision"),
        ("serial-cascade", down_sample_otherwise(True), r"pass \d+ of model 1: .*: D_r at cell 0, .*: no near-tie"),
        ("serial-cascade", down_sample_otherwise(False), r"cycle \d: down_sampled differ, and no decision does"),
        ("serial-cascade", feed_elsewhere, r"pass \d+ of model 0: feeds other positions, and no decision differed"),
        (
            "serial-cascade",
            lambda trace: trace.passes.pop(),
            r"pass \d+: the engine makes \d+ passes, the reference \d+",
        ),
        ("serial-cascade", lambda trace: trace.cycles.pop(), r"cycle \d: the engine made \d cycles, the reference \d"),
        ("zipar-adaptive", change_reprediction(token=0), r"pass \d+, cell \d+: reprediction .*token=0.*: no near-tie"),
        ("zipar-adaptive", change_reprediction(kept=True), r"pass \d+, cell \d+: reprediction .*kept=True.*: no near"),
        ("zipar-adaptive", change_reprediction(held_token=0), r"pass \d+, .*: not of the same token"),
        ("exact-cascade", change_draw(20), r"pass \d+, cell \d+: sampled \d+, the reference \d+: no near-tie"),
        ("exact-cascade", change_sweep("decided"), r"pass \d+: decided of a sweep differ, and no decision does"),
        ("exact-cascade", change_sweep("guesses"), r"pass \d+: guesses of a sweep differ, and no decision does"),
    ],
)
def test_planted(compared: Callable[[str], Compared], name: str, change: Callable[[Trace], object], said: str) -> None:
    """A decision that no rounding explains fails, with the pass, the cell and what was decided."""
    with pytest.raises(AssertionError, match=said):
        compared(name).explain(change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (change_draw(40), r"^pass \d+, cell \d+: sampled"),
        (flip(1, "kept", 0.2), r"^pass \d+, cell \d+: acceptance"),
    ],
)
def test_near_ties_are_excused(
    compared: Callable[[str], Compared], change: Callable[[Trace], object], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same with logits that may be off by much is explained, and what follows is not compared."""
    decode = compared("serial-cascade")
    manifest = decode.pipeline.bundle.manifest
    vague = {name: graph.model_copy(update={"tolerance": 30.0}) for name, graph in manifest.graphs.items()}
    bundle = dataclasses.replace(decode.pipeline.bundle, manifest=manifest.model_copy(update={"graphs": vague}))
    monkeypatch.setattr(decode.pipeline, "bundle", bundle)
    explained = decode.explain(change)
    assert len(explained) == 1
    assert re.search(said, explained[0])
