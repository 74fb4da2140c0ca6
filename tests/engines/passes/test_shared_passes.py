"""Passes that several decodes share: one that fails, fails for its culprit alone."""

import time
from functools import partial
from typing import Any

import numpy as np
import pytest

from mulo_sd.engines.backends.array_scores import ArrayScores
from mulo_sd.engines.backends.base import BackendError, Tensors
from mulo_sd.engines.passes.shared_passes import SharedPasses
from tests.fakes.pooling_backend import PoolingBackend, inputs_of


class _RefusesToken(PoolingBackend):
    """A pooling backend that fails at a pass in which some row feeds one token."""

    name = "refuses"

    def __init__(self, token: int, error: BaseException) -> None:
        super().__init__()
        self.token, self.error, self.calls = token, error, 0

    def score(self, graph: str, cache: Any, inputs: Tensors) -> ArrayScores:
        self.calls += 1
        if (inputs["tokens"] == self.token).any():
            raise self.error
        return ArrayScores(np.repeat(inputs["tokens"][..., None], 3, axis=2).astype(np.float32))


@pytest.mark.parametrize("error", [BackendError("refused"), KeyError("x"), KeyboardInterrupt(), SystemExit(3)])
def test_a_shared_pass_that_fails_fails_for_its_culprit_alone(error: BaseException) -> None:
    backend = _RefusesToken(7, error)
    shared = SharedPasses(backend, 3)
    outcomes: dict[int, Any] = {}

    def ask(number: int, token: int, fed: int) -> None:
        inputs = inputs_of(np.full((2, fed), token))
        try:
            outcomes[number] = shared.score("target", shared.place("target", number, 2), inputs).logits()
        except BaseException as caught:
            outcomes[number] = caught

    shared.begin(*(partial(ask, *one) for one in ((0, 5, 1), (1, 7, 2), (2, 6, 3))))
    shared.close()
    assert outcomes[1] is error
    np.testing.assert_array_equal(outcomes[0], np.full((2, 1, 3), 5))
    np.testing.assert_array_equal(outcomes[2], np.full((2, 3, 3), 6))
    assert backend.calls == 5, "once for all, then half by half down to the culprit"


def test_a_graph_that_gains_nothing_has_a_cache_for_each_decode() -> None:
    """Its passes are made one by one; those of another graph are shared."""

    class Choosy(_RefusesToken):
        def gains_by_sharing(self, graph: str) -> bool:
            return graph == "drafter_1"

    backend = Choosy(-1, BackendError("none"))
    shared = SharedPasses(backend, 2)
    inputs = inputs_of(np.full((2, 1), 3))

    def ask(number: int) -> None:
        for graph in ("target", "drafter_1"):
            place = shared.place(graph, number, 2)
            for _ in range(3):
                shared.score(graph, place, inputs)

    shared.begin(*(partial(ask, number) for number in range(2)))
    shared.close()
    assert (shared.passes, backend.calls) == (2 * 3 + 3, 2 * 3 + 3)


class _Counts(PoolingBackend):
    """A pooling backend that notes the rows and tokens of its passes, and takes so many rows at most."""

    name = "counts"

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.shapes = most, list[tuple[int, ...]]()

    def takes_shared(self, graph: str, rows: int, tokens: int) -> bool:
        return rows * tokens <= self.most

    def score(self, graph: str, cache: Any, inputs: Tensors) -> ArrayScores:
        self.shapes.append(inputs["tokens"].shape)
        return ArrayScores(np.repeat(inputs["tokens"][..., None], 3, axis=2).astype(np.float32))


@pytest.mark.parametrize(
    ("batches", "most", "expected"),
    [
        ([2, 2, 2, 2, 2], 99, [(10, 1)]),
        ([2, 2, 2, 2, 2], 6, [(6, 1), (4, 1)]),
        ([2, 2, 2, 2, 2], 3, [(2, 1)] * 5),
        ([1, 1, 1, 1, 1], 99, [(5, 1)]),
        ([1, 1, 1, 1, 1], 4, [(4, 1), (1, 1)]),
        ([2, 2, 1, 1, 1], 99, [(3, 1), (4, 1)]),
        ([1, 2, 1, 2, 1], 99, [(3, 1), (4, 1)]),
    ],
)
def test_passes_are_shared_by_as_many_as_a_backend_takes(
    batches: list[int], most: int, expected: list[tuple[int, int]]
) -> None:
    """Decodes without guidance share passes, too; each has its own scores."""
    backend = _Counts(most)
    shared = SharedPasses(backend, len(batches))

    def ask(number: int, batch: int) -> None:
        inputs = {name: value[:batch] for name, value in inputs_of(np.full((2, 1), number)).items()}
        scores = shared.score("target", shared.place("target", number, batch), inputs)
        np.testing.assert_array_equal(scores.logits(), np.full((batch, 1, 3), number))

    errors = list[BaseException]()

    def asked(number: int, batch: int) -> None:
        try:
            ask(number, batch)
        except BaseException as error:  # raised below, in the test's own thread
            errors.append(error)

    shared.begin(*(partial(asked, *one) for one in enumerate(batches)))
    shared.close()
    assert errors == []
    assert backend.shapes == expected


def test_rows_are_taken_again() -> None:
    """Decodes come and go with and without guidance: those that run lie side by side, and no two in the same rows."""
    shared = SharedPasses(_Counts(99), 4)
    taken: dict[int, tuple[int, int]] = {}
    generator = np.random.default_rng(4)

    def begin(number: int, batch: int) -> None:
        place = shared.place("target", number, batch)
        taken[number] = (batch, place.first_row)

    numbers = [*range(4), *generator.integers(0, 4, 60).tolist()]
    batches = [2, 1, 2, 1, *generator.integers(1, 3, 60).tolist()]
    for number, batch in zip(numbers, batches, strict=True):
        shared.begin(partial(begin, number, batch))
        while shared.scheduler._begun:
            time.sleep(0.001)
        assert len(set(taken.values())) == len(taken)
        assert all(first % size == 0 and first < 4 * size for size, first in taken.values())
    shared.close()
