"""Passes of several decodes at once: what waits at the same time for the same model is one pass of more rows.

Each decode is straight code that asks for its passes as if it were alone; one thread runs them all (`scheduler`).
A pass waits until every other decode waits too; then all that wait are run, those of one model together, and the
decodes go on. So requests join and leave between steps, and no decode knows of another. Passes too large to gain from
batching run alone.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import greenlet
import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.backends.base import Backend, BackendError, CachePool, KVCache, PartedScores, Scores, Tensors
from mulo_sd.engines.backends.host_scores import scorer
from mulo_sd.engines.passes.scheduler import Scheduler
from mulo_sd.engines.passes.shared_samples import SharedSamples, SharedScores

# A decode that shares the host's processors with its passes goes on for so many of them before the next has its turn:
# it finds its keys and values in the processor's cache, from which the next ones drive them.
PASSES_A_TURN = 16
# Seconds for which the others may wait for a graph that keeps no state. Where they go on without a decode, its next
# passes are shared with fewer of them; where they wait for an image to be resized, they may wait for seconds.
LONG = 0.05
# Of the tokens of a shared pass, the largest share that may be padding.
MAX_PADDING = 0.25
# Inputs of a pass that have something for each token; of these, embeddings.
OF_TOKENS, EMBEDDED = ("tokens", "positions", "branches", "prefix", "features"), ("prefix", "features")
# Passes of so few tokens read weights longer than they compute: they are shared whatever the padding.
FEW = 4


@dataclass
class Place:
    """The cache of one decode with one model: some rows of the model's pool for decodes of as many rows."""

    first_row: int
    batch: int
    cache: KVCache


@dataclass
class _WaitingPass:
    """A pass that waits, with its decode; then it has its scores, or an error."""

    graph: str
    place: Place
    inputs: Tensors
    decode: greenlet.greenlet
    scores: Scores | None = None
    error: BaseException | None = None

    @property
    def fed(self) -> int:
        return int(self.inputs["tokens"].shape[1])

    @property
    def pool(self) -> tuple[str, int]:
        """Which pool has its rows."""
        return self.graph, self.place.batch

    @property
    def end(self) -> int:
        """The row after its last."""
        return self.place.first_row + self.place.batch


def _padded(value: NDArray[Any], fed: int, last: bool) -> NDArray[Any]:
    """Return [B, T, ...] with `fed` tokens: more of the last one, or zeros."""
    missing = fed - value.shape[1]
    if missing == 0:
        return value
    shape = (value.shape[0], missing, *value.shape[2:])
    more = np.broadcast_to(value[:, -1:], shape) if last else np.zeros(shape, dtype=value.dtype)
    return np.concatenate([value, more], axis=1)


def _merged(group: list[_WaitingPass]) -> Tensors:
    """Return the inputs of one pass for several that wait.

    Padding stands at its decode's last position, so that it sees something, and is written to slots behind the decode's
    own, of which `slot_ranks` says that they are dead: nobody sees it, and the next pass writes over it.
    """
    fed = max(item.fed for item in group)
    inputs: dict[str, NDArray[Any]] = {}
    for name in group[0].inputs:
        values = [item.inputs[name] for item in group]
        if name in OF_TOKENS:
            values = [_padded(value, fed, last=name not in EMBEDDED) for value in values]
        inputs[name] = np.concatenate(values)
    return inputs


class SharedPasses:
    """A backend's passes, shared by the decodes that run; what a decode calls is called in its own greenlet alone."""

    def __init__(self, backend: Backend, places: int, initializer: Callable[[], object] = lambda: None) -> None:
        """Prepare for decodes.

        Args:
            backend: Runs the graphs; without `Traits.pools` every pass runs alone, and where it gains nothing.
            places: How many decodes may run at once.
            initializer: Called first in every thread that is made for them.
        """
        self.backend, self.places = backend, places
        self.score_alone = scorer(backend)
        self.pooling = backend.traits.pools
        # Passes of more tokens gain nothing: they compute for longer than they read weights.
        self.max_tokens = float(backend.traits.max_shared_tokens)
        # Where passes compute on the host's processors, decodes would disturb them there: one goes on at a time.
        self.in_turns = not self.pooling or self.max_tokens != float("inf")
        self.pools: dict[tuple[str, int], CachePool] = {}  # of a graph, for decodes of so many rows
        self.seats: dict[tuple[str, int], dict[int, int]] = {}  # which rows of each pool a decode has, by its place
        self.gains: dict[str, bool] = {}  # which graphs' passes are shared
        self.seconds: dict[str, float] = {}  # that stateless graphs take
        self.making = threading.Lock()  # held while a pool is made
        self.waiting: list[_WaitingPass] = []
        self.passes = 0  # of the backend: fewer than the decodes made where some were shared
        self.scheduler = Scheduler(self._run_waiting, places, initializer)
        self.samples = SharedSamples(self.scheduler)

    def begin(self, *decodes: Callable[[], None]) -> None:
        """Let decodes begin, from any thread; they share no pass before all of several have begun. They may not raise.

        Raises:
            RuntimeError: they are closed.
        """
        self.scheduler.begin(*decodes)

    def close(self) -> None:
        """Wait for all decodes, end the threads, and give back the pools."""
        self.scheduler.close()
        self.pools.clear()

    def next_turn(self) -> None:
        """Let the next decode have its turn, and wait for another."""
        if self.in_turns:
            self._run_waiting()  # those that make small passes have waited for a whole turn
            self.scheduler.pause()

    def place(self, graph: str, number: int, batch: int) -> Place:
        """Return an empty cache at one of the places, for `batch` rows.

        The first of a graph may load a model of gigabytes.
        """
        if not self._shares(graph):
            return Place(0, batch, self.scheduler.beside(lambda: self.backend.new_cache(graph, batch)))
        first = self._seat_of(graph, number, batch) * batch
        if (graph, batch) not in self.pools:
            self.scheduler.beside(lambda: self._make_pool(graph, batch))
        pool = self.pools[graph, batch]
        pool.clear(first, batch)
        return Place(first, batch, pool.rows(first, batch))

    def _seat_of(self, graph: str, number: int, batch: int) -> int:
        """Return which rows of a pool a decode takes: the first free ones, so that those of several lie together.

        They are free again when the next decode at its place, whatever its rows, takes some of the graph.
        """
        for pool, seats in self.seats.items():
            if pool[0] == graph:
                seats.pop(number, None)
        seats = self.seats.setdefault((graph, batch), {})
        seats[number] = next(seat for seat in range(self.places) if seat not in seats.values())
        return seats[number]

    def _shares(self, graph: str) -> bool:
        if graph not in self.gains:
            self.gains[graph] = self.pooling and self.backend.gains_by_sharing(graph)
        return self.gains[graph]

    def _make_pool(self, graph: str, batch: int) -> None:
        with self.making:
            if (graph, batch) not in self.pools:
                self.pools[graph, batch] = self.backend.new_pool(graph, self.places * batch)

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Run a stateless graph; the others wait for it unless it is long, or never ran and may have to be loaded."""

        def timed() -> dict[str, NDArray[Any]]:
            started = time.perf_counter()
            outputs = self.backend.run(graph, inputs)
            took = time.perf_counter() - started
            # The shortest time is its own: others hold loading it, or waiting for the backend.
            self.seconds[graph] = min(took, self.seconds.get(graph, took))
            return outputs

        return timed() if self.seconds.get(graph, LONG) < LONG else self.scheduler.beside(timed)

    def score(self, graph: str, place: Place, inputs: Tensors) -> Scores:
        """Run a pass together with what the other decodes ask for next; return its scores.

        Raises:
            BackendError: it cannot be run. The others go on.
        """
        own = _WaitingPass(graph, place, inputs, greenlet.getcurrent())
        if not self._shares(graph) or own.fed > self.max_tokens:
            self._run([own])
        else:
            self.waiting.append(own)
            self.scheduler.wait()
        if own.error is not None:
            raise own.error
        assert own.scores is not None
        return own.scores

    def _run_waiting(self) -> bool:
        """Run what waits, samples before passes, and let their decodes go on; return whether there was anything."""
        if self.samples.run():
            return True
        waiting, self.waiting = self.waiting, []
        for group in self._groups(waiting):
            self._run(group)
        for item in waiting:
            self.scheduler.resume(item.decode)
        return bool(waiting)

    def _groups(self, waiting: list[_WaitingPass]) -> list[list[_WaitingPass]]:
        """Return what can be run together, in the order of models and rows."""
        groups: list[list[_WaitingPass]] = []
        ordered = sorted(waiting, key=lambda item: (*item.pool, item.place.first_row))
        for _, items in groupby(ordered, key=lambda item: item.pool):
            for number, item in enumerate(items):
                if number and self._fits(groups[-1], item):
                    groups[-1].append(item)
                else:
                    groups.append([item])
        return groups

    def _fits(self, group: list[_WaitingPass], item: _WaitingPass) -> bool:
        """Whether a pass may join others of its pool: beside them in it, with little padding, and room for all."""
        fed = [other.fed for other in (*group, item)]
        longest, slots = max(fed), int(item.inputs["slot_ranks"].shape[1])
        if group[-1].end != item.place.first_row or longest > self.max_tokens:
            return False
        if any(int(other.inputs["write_index"][0]) + longest > slots for other in (*group, item)):
            return False
        # A prefill's prefix is not padded with a token's: the two differ by tokens of -1.
        if len({bool(other.inputs["tokens"][0, 0] < 0) for other in (*group, item)}) > 1:
            return False
        if longest > FEW and 1 - sum(fed) / (longest * len(fed)) > MAX_PADDING:
            return False
        return self.backend.takes_shared(item.graph, item.end - group[0].place.first_row, longest)

    def _run(self, group: list[_WaitingPass]) -> None:
        """Run a group as one pass; where that fails, its halves, so that only what is at fault fails.

        Memory may have been too little for all of them, too.
        """
        try:
            self._score(group)
        except BaseException as error:  # a backend from outside may raise anything; its decode ends with it
            if len(group) == 1:
                group[0].error = error
                return
            middle = len(group) // 2
            self._run(group[:middle])
            self._run(group[middle:])

    def _score(self, group: list[_WaitingPass]) -> None:
        graph, place, inputs = group[0].graph, group[0].place, group[0].inputs
        if len(group) == 1:
            group[0].scores = self.score_alone(graph, place.cache, inputs)
            self.passes += 1
            return
        rows = self.pools[group[0].pool].rows(place.first_row, group[-1].end - place.first_row)
        scores = self.backend.score(graph, rows, _merged(group))
        if not isinstance(scores, PartedScores):
            got = type(scores).__name__
            raise BackendError(f"backend {self.backend.name}: graph {graph}: expected engines.PartedScores, got {got}")
        self.passes += 1
        for item in group:
            first, batch = item.place.first_row - place.first_row, item.place.batch
            part = scores.part(first, batch, item.fed)
            # In turns the others are in the middle of theirs.
            item.scores = part if self.in_turns else SharedScores(self.samples, scores, part, first, batch)
