"""What a timed backend notes, and that it changes nothing."""

import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mulo_sd.conformance.bench.spread import spread_of
from mulo_sd.conformance.bench.timed import Call, TimedBackend, accounts_of, bucket_of, timer_seconds_per_call
from mulo_sd.engines.backends.base import Backend, BackendError, KVCache, Scores, Tensors, Traits
from mulo_sd.engines.backends.host_scores import HostScores
from mulo_sd.engines.distribution import Distribution


class Cache:
    batch = 2


class Sleeper(Backend):
    """A backend whose calls take a known time."""

    name = "sleeper"
    traits = Traits(capabilities=frozenset({"ar", "guidance"}))

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        time.sleep(0.002)
        return {"graph": np.array([len(graph)])}

    def new_cache(self, graph: str, batch: int) -> KVCache:
        return Cache()

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> NDArray[np.float32]:
        time.sleep(0.004)
        return np.zeros((*inputs["tokens"].shape, 3), dtype=np.float32)

    def keep_slots(self, graph: str, cache: KVCache, slots: NDArray[np.int64]) -> None:
        pass


class ScoringSleeper(Sleeper):
    traits = Traits(scores=True)

    def score(self, graph: str, cache: KVCache, inputs: Tensors) -> Scores:
        return HostScores(self, self.feed(graph, cache, inputs))


TOKENS = {"tokens": np.zeros((2, 5), dtype=np.int64)}


def test_calls_are_noted_in_order() -> None:
    waits: list[int] = []
    backend = TimedBackend(Sleeper(), lambda: waits.append(1))
    assert (backend.name, backend.traits) == ("sleeper", Sleeper.traits)
    cache = backend.new_cache("target", 2)
    logits = backend.feed("target", cache, TOKENS)
    outputs = backend.run("sampler", {"noise": np.zeros((7, 3))})
    backend.keep_slots("target", cache, np.arange(6))
    assert logits.shape == (2, 5, 3)
    assert outputs["graph"].tolist() == [7]
    assert [call[:4] for call in backend.calls] == [
        ("cache", "target", 2, 0),
        ("pass", "target", 2, 5),
        ("graph", "sampler", 1, 7),
        ("cache", "target", 2, 6),
    ]
    assert len(waits) == 4
    assert backend.calls[1].seconds >= 0.004
    assert backend.calls[2].seconds >= 0.002


def test_scores_are_the_backends_time() -> None:
    backend = TimedBackend(ScoringSleeper())
    assert backend.traits.scores
    scores = backend.score("target", Cache(), TOKENS)
    assert scores.logits().shape == (2, 5, 3)
    assert scores.last().logits().shape == (2, 1, 3)
    with pytest.raises(BackendError, match=r"tokens: .*, got none"):  # the sleeper's sampler has no tokens
        scores.draw(np.array([0]), Distribution(), np.zeros((1, 3), dtype=np.float32))
    kinds = [(call.kind, call.graph) for call in backend.calls]
    assert kinds == [("pass", "target")] + [("scores", "target")] * 3


def test_accounts_add_up() -> None:
    calls = [
        Call("pass", "target", 2, 1, 0.1),
        Call("pass", "target", 2, 1, 0.3),
        Call("pass", "target", 2, 300, 0.2),
        Call("pass", "drafter_1", 2, 4, 0.1),
        Call("graph", "sampler", 1, 1, 0.1),
    ]
    accounts = accounts_of(calls, 1.0)
    assert accounts.passes == 4
    assert accounts.backend == pytest.approx(0.8)
    assert accounts.host_share == pytest.approx(0.2)
    assert accounts.host_ms_per_step == pytest.approx(50)
    assert accounts.by_graph == pytest.approx({"target": 0.6, "drafter_1": 0.1, "sampler": 0.1})
    count, seconds = accounts.by_bucket["target", "1"]
    assert count == 2
    assert seconds == pytest.approx(0.4)
    assert set(accounts.by_bucket) == {("target", "1"), ("target", ">256"), ("drafter_1", "2-4")}


@pytest.mark.parametrize(
    ("fed", "bucket"),
    [(1, "1"), (2, "2-4"), (4, "2-4"), (5, "5-16"), (16, "5-16"), (64, "17-64"), (256, "65-256"), (257, ">256")],
)
def test_buckets(fed: int, bucket: str) -> None:
    assert bucket_of(fed) == bucket


def test_the_timer_costs_little() -> None:
    assert timer_seconds_per_call(200) < 1e-3


def test_spreads() -> None:
    assert spread_of([3.0]).text() == "3.00"
    spread = spread_of([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (spread.median, spread.low, spread.high, spread.count) == (3.0, 2.0, 4.0, 5)
    assert spread.text(1) == "3.0 (2.0-4.0)"


def test_a_timed_backend_is_a_backend() -> None:
    backend: Backend = TimedBackend(Sleeper())
    assert backend.name == "sleeper"
