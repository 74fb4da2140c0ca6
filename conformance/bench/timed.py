"""A backend that notes how long each of its calls takes: what lies outside them is the host's."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.backends.base import Backend, Draw, Fed, Floats, Judgement, KVCache, Scores, Tensors, Tokens
from mulo_sd.engines.backends.wrapped import WrappedBackend
from mulo_sd.engines.distribution import Distribution
from mulo_sd.engines.rules.anchor import Anchor
from mulo_sd.engines.rules.noise import NoiseSource

# pass: of a transformer. graph: one that keeps no state. cache: making or compacting one. scores: logits that stay on
# a device, sampled or judged there.
Kind = Literal["pass", "graph", "cache", "scores"]
# Upper ends of the buckets in which passes are counted by T, the tokens that one feeds.
BUCKETS = (1, 4, 16, 64, 256)
BUCKET_NAMES = ("1", "2-4", "5-16", "17-64", "65-256", ">256")


class Call(NamedTuple):
    """One call: of a pass B rows of T tokens; of other graphs B = 1 and T, the length of the first input."""

    kind: Kind
    graph: str
    batch: int
    fed: int
    seconds: float


def bucket_of(fed: int) -> str:
    """Return the bucket of a pass that feeds T tokens."""
    return BUCKET_NAMES[sum(fed > end for end in BUCKETS)]


class TimedBackend(WrappedBackend):
    """Runs another backend's calls and notes them.

    Attributes:
        calls: In order.
    """

    # A pool's passes are noted nowhere: decodes that are timed run alone.
    changed_traits: ClassVar[Mapping[str, Any]] = {"pools": False}

    def __init__(self, backend: Backend, synchronise: Callable[[], None] | None = None) -> None:
        """Wrap a backend.

        Args:
            backend: Does the work.
            synchronise: Waits for the device after each call, so that a pass has its own time and not that of its
                launch; it costs what the host would otherwise do meanwhile.
        """
        super().__init__(backend)
        self.synchronise = synchronise
        self.calls: list[Call] = []

    def note(self, kind: Kind, graph: str, batch: int, fed: int, started: float) -> None:
        """Note a call that has just ended."""
        if self.synchronise is not None:
            self.synchronise()
        self.calls.append(Call(kind, graph, batch, fed, time.perf_counter() - started))

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Run a stateless graph."""
        started = time.perf_counter()
        outputs = super().run(graph, inputs)
        self.note("graph", graph, 1, len(next(iter(inputs.values()))), started)
        return outputs

    def new_cache(self, graph: str, batch: int) -> KVCache:
        """Make a cache."""
        started = time.perf_counter()
        cache = super().new_cache(graph, batch)
        self.note("cache", graph, batch, 0, started)
        return cache

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> Floats:
        """Run a pass."""
        started = time.perf_counter()
        logits = super().feed(graph, cache, inputs)
        self.note("pass", graph, inputs["tokens"].shape[0], inputs["tokens"].shape[1], started)
        return logits

    def feed_with_hidden(self, graph: str, cache: KVCache, inputs: Tensors) -> Fed:
        """Run a pass that gives hidden states too."""
        started = time.perf_counter()
        fed = super().feed_with_hidden(graph, cache, inputs)
        self.note("pass", graph, inputs["tokens"].shape[0], inputs["tokens"].shape[1], started)
        return fed

    def keep_slots(self, graph: str, cache: KVCache, slots: Tokens) -> None:
        """Compact a cache."""
        started = time.perf_counter()
        super().keep_slots(graph, cache, slots)
        self.note("cache", graph, cache.batch, len(slots), started)

    def score(self, graph: str, cache: KVCache, inputs: Tensors) -> "TimedScores":
        """Run a pass of a backend whose logits stay where they are computed."""
        started = time.perf_counter()
        scores = super().score(graph, cache, inputs)
        self.note("pass", graph, inputs["tokens"].shape[0], inputs["tokens"].shape[1], started)
        return TimedScores(self, graph, scores)


class TimedScores(Scores):
    """Scores of a pass, whose use is the backend's time as well."""

    def __init__(self, timer: TimedBackend, graph: str, scores: Scores) -> None:
        self.timer, self.graph, self.scores = timer, graph, scores

    def logits(self) -> Floats:
        """Return all logits."""
        started = time.perf_counter()
        logits = self.scores.logits()
        self.timer.note("scores", self.graph, logits.shape[0], logits.shape[1], started)
        return logits

    def hidden(self) -> Floats:
        """Return all hidden states."""
        started = time.perf_counter()
        hidden = self.scores.hidden()
        self.timer.note("scores", self.graph, hidden.shape[0], hidden.shape[1], started)
        return hidden

    def last(self) -> "TimedScores":
        """Return the last row's."""
        started = time.perf_counter()
        last = self.scores.last()
        self.timer.note("scores", self.graph, 1, 1, started)
        return TimedScores(self.timer, self.graph, last)

    def draw(self, rows: Tokens, distribution: Distribution, noise: Floats) -> Draw:
        """Sample by given noise."""
        started = time.perf_counter()
        drawn = self.scores.draw(rows, distribution, noise)
        self.timer.note("scores", self.graph, 1, len(rows), started)
        return drawn

    def sample(
        self, rows: Tokens, cells: Tokens, distribution: Distribution, noise: NoiseSource, anchor: Anchor | None
    ) -> Tokens:
        """Sample by the cells' own noise."""
        started = time.perf_counter()
        tokens = self.scores.sample(rows, cells, distribution, noise, anchor)
        self.timer.note("scores", self.graph, 1, len(rows), started)
        return tokens

    def judge(self, rows: Tokens, distribution: Distribution, draft_tokens: Tokens, neighbours: Tokens) -> Judgement:
        """Pool the probability around draft tokens."""
        started = time.perf_counter()
        judged = self.scores.judge(rows, distribution, draft_tokens, neighbours)
        self.timer.note("scores", self.graph, 1, len(rows), started)
        return judged


@dataclass(frozen=True)
class Accounts:
    """Where the time of one decode went.

    Attributes:
        wall: Seconds, all of it.
        backend: Seconds inside the backend's calls.
        passes: Of all models, prefills included.
        by_graph: Seconds by graph; scores count for the transformer that made them.
        by_bucket: (model's graph, bucket of T) -> passes and their seconds.
    """

    wall: float
    backend: float
    passes: int
    by_graph: dict[str, float]
    by_bucket: dict[tuple[str, str], tuple[int, float]]

    @property
    def host_share(self) -> float:
        """Share of the time outside the backend's calls, 0..1."""
        return (self.wall - self.backend) / self.wall

    @property
    def host_ms_per_step(self) -> float:
        """Milliseconds outside the backend's calls for each pass."""
        return 1e3 * (self.wall - self.backend) / max(self.passes, 1)


def accounts_of(calls: Sequence[Call], wall: float) -> Accounts:
    """Add up the calls of a decode that took `wall` seconds."""
    by_graph: dict[str, float] = defaultdict(float)
    by_bucket: dict[tuple[str, str], tuple[int, float]] = {}
    for call in calls:
        by_graph[call.graph] += call.seconds
        if call.kind == "pass":
            key = (call.graph, bucket_of(call.fed))
            count, seconds = by_bucket.get(key, (0, 0.0))
            by_bucket[key] = (count + 1, seconds + call.seconds)
    passes = sum(count for count, _ in by_bucket.values())
    return Accounts(wall, sum(call.seconds for call in calls), passes, dict(by_graph), by_bucket)


class _Nothing(Backend):
    """A backend that does nothing, to time the timer with."""

    name = "nothing"

    def run(self, _graph: str, _inputs: Tensors) -> dict[str, NDArray[Any]]:
        return {}

    def new_cache(self, _graph: str, _batch: int) -> KVCache:
        raise NotImplementedError

    def feed(self, _graph: str, _cache: KVCache, _inputs: Tensors) -> Floats:
        raise NotImplementedError

    def keep_slots(self, _graph: str, _cache: KVCache, _slots: Tokens) -> None:
        raise NotImplementedError


def timer_seconds_per_call(count: int = 2000) -> float:
    """Return what noting a call costs: `count` calls of a backend that does nothing, wrapped less bare."""
    bare, inputs = _Nothing(), {"nothing": np.zeros(1)}
    wrapped = TimedBackend(bare)
    seconds = []
    for backend in (bare, wrapped):
        started = time.perf_counter()
        for _ in range(count):
            backend.run("nothing", inputs)
        seconds.append(time.perf_counter() - started)
    return max(0.0, (seconds[1] - seconds[0]) / count)
