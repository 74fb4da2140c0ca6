"""Samples that several decodes ask of one pass: one call of the backend, and each decode has its own tokens."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest

from mulo_sd.engines.backends.array_scores import ArrayScores
from mulo_sd.engines.backends.base import BackendError, Scores, Tensors, Tokens, Traits, Wanted
from mulo_sd.engines.distribution import Distribution
from mulo_sd.engines.passes.shared_passes import SharedPasses
from mulo_sd.engines.rules.anchor import Anchor
from mulo_sd.engines.rules.noise import NoiseSource
from tests.fakes.pooling_backend import PoolingBackend, inputs_of

CODES, DECODES = 40, 3


class _Noting(ArrayScores):
    """Scores that note which decodes are sampled together."""

    calls: list[int]
    refused: int | None  # a seed

    def sample_together(self, wanted: Sequence[Wanted], distribution: Distribution) -> list[Tokens]:
        self.calls.append(len(wanted))
        if any(one.noise.seed == self.refused for one in wanted):
            raise BackendError("refused")
        return super().sample_together(wanted, distribution)


class _Pooling(PoolingBackend):
    """A backend that answers a pass with logits of its tokens."""

    name = "pooling"

    def __init__(self, refused: int | None = None) -> None:
        super().__init__()
        self.calls: list[int] = []
        self.refused, self.passes = refused, 0

    def score(self, graph: str, cache: Any, inputs: Tensors) -> ArrayScores:
        self.passes += 1
        scores = _Noting(logits_of(inputs["tokens"]))
        scores.calls, scores.refused = self.calls, self.refused
        return scores


def logits_of(tokens: Tokens) -> Any:
    places = np.arange(CODES, dtype=np.float32)
    return np.sin(tokens[..., None] * 1.7 + places).astype(np.float32)


def fed_by(number: int, step: int) -> Tokens:
    """Return the token that a decode feeds at a step, in two rows."""
    return np.array([[number + step], [number]])


def run_together(
    backend: _Pooling, ask: Callable[[int, Scores, int], Tokens], steps: int = 4
) -> dict[int, list[int] | BaseException]:
    """Run decodes that sample after every pass; return their tokens, or with what they ended."""
    shared, outcomes = SharedPasses(backend, DECODES), dict[int, Any]()

    def decode(number: int) -> None:
        place, tokens = shared.place("target", number, 2), []
        try:
            for step in range(steps):
                tokens += ask(number, shared.score("target", place, inputs_of(fed_by(number, step))), step).tolist()
            outcomes[number] = tokens
        except BaseException as error:
            outcomes[number] = error

    shared.begin(*(partial(decode, number) for number in range(DECODES)))
    shared.close()
    return outcomes


def sampled(number: int, scores: Scores, step: int, anchor: Anchor | None = None, heat: float = 1.0) -> Tokens:
    row, cell = np.zeros(1, dtype=np.int64), np.array([step])
    return scores.sample(row, cell, Distribution(2.0, heat), NoiseSource(number, 0, 64, CODES), anchor)


def expected_of(number: int, steps: int = 4, anchor: Anchor | None = None, heat: float = 1.0) -> list[int]:
    tokens: list[int] = []
    for step in range(steps):
        alone = ArrayScores(logits_of(fed_by(number, step)))
        tokens += sampled(number, alone, step, anchor, heat).tolist()
    return tokens


def test_one_call_a_step() -> None:
    backend = _Pooling()
    outcomes = run_together(backend, sampled)
    assert outcomes == {number: expected_of(number) for number in range(DECODES)}
    assert (backend.passes, backend.calls) == (4, [DECODES] * 4)


def test_what_differs_is_sampled_apart() -> None:
    """Another temperature, another anchor: each in a call of its own, and the passes stay shared."""
    anchor = Anchor(1.0, np.eye(CODES, dtype=np.float32), np.arange(64) % CODES, 0)
    ways: list[dict[str, Any]] = [{}, {"anchor": anchor}, {"heat": 0.7}]
    backend = _Pooling()
    outcomes = run_together(backend, lambda number, scores, step: sampled(number, scores, step, **ways[number]))
    assert outcomes == {number: expected_of(number, **ways[number]) for number in range(DECODES)}
    assert (backend.passes, backend.calls) == (4, [1] * 12)


def test_one_that_fails_fails_for_its_culprit_alone() -> None:
    backend = _Pooling(refused=2)
    outcomes = run_together(backend, sampled)
    assert isinstance(outcomes.pop(2), BackendError)
    assert outcomes == {number: expected_of(number) for number in (0, 1)}
    assert backend.calls == [3, 1, 1, 1, 2, 2, 2], "together, each by itself, then those that are left"


def test_decodes_that_do_not_sample_wait_for_nobody() -> None:
    """One draws by given noise, which is nobody else's: its next pass is shared again."""
    noise = np.zeros((1, CODES), dtype=np.float32)

    def ask(number: int, scores: Scores, step: int) -> Tokens:
        if number == 0:
            return scores.draw(np.zeros(1, dtype=np.int64), Distribution(), noise).tokens
        return sampled(number, scores, step)

    backend = _Pooling()
    outcomes = run_together(backend, ask)
    assert [outcomes[number] for number in (1, 2)] == [expected_of(number) for number in (1, 2)]
    assert (backend.passes, backend.calls) == (4, [2] * 4)


@pytest.mark.parametrize("most", [4, float("inf")])
def test_in_turns_each_samples_by_itself(most: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Pooling, "traits", Traits(scores=True, pools=True, max_shared_tokens=most))
    backend = _Pooling()
    outcomes = run_together(backend, sampled)
    assert outcomes == {number: expected_of(number) for number in range(DECODES)}
    assert backend.calls == ([] if most == 4 else [DECODES] * 4)
