"""Passes that several decodes share: one that fails, fails for its culprit alone."""

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
