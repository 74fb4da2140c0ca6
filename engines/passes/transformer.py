"""Passes of one transformer of a bundle, over a slot-addressed cache."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.backends.answers import checked, run
from mulo_sd.engines.backends.base import Backend, BackendError, Scores, Tensors
from mulo_sd.engines.backends.host_scores import HostLogits, scorer
from mulo_sd.engines.bundle.manifest import TransformerEntry
from mulo_sd.engines.rules.slots import SlotTable


class TransformerSession:
    """One transformer in one decode: feeds (position, token) pairs and returns logits (KV-1)."""

    def __init__(
        self,
        backend: Backend,
        entry: TransformerEntry,
        prefixes: NDArray[Any],
        places: NDArray[np.int64] | None = None,
        passing: NDArray[np.int64] | None = None,
    ) -> None:
        """Prepare a session.

        Args:
            backend: Runs the graphs.
            entry: The transformer, from the bundle's manifest.
            prefixes: Int64[B, P, fields] or Float32[B, P, width], B = 2 with guidance (conditional first), else 1.
            places: Int[n], the prefix tokens that the prefill feeds, ascending; None is all of them.
            passing: Int[n], those among them that no later pass sees; None is none of them.
        """
        self.backend, self.entry = backend, entry
        self.prefixes, self.batch = prefixes, len(prefixes)
        self.places = np.arange(entry.prefix_length) if places is None else places
        self.passing = np.zeros(0, dtype=np.int64) if passing is None else passing
        self.score = scorer(backend)
        self.cache = backend.new_cache(entry.graph, self.batch)
        self.kind_of_scores: type | None = None
        self.no_prefix: dict[int, NDArray[np.float32]] = {}  # by the number of tokens
        positions = entry.prefix_length + entry.grid_height * entry.grid_width
        self.slots = SlotTable(entry.slots, positions, reuse=not backend.traits.pads_passes)

    def prefill(self) -> Scores:
        """Feed the prefix (PREFILL)."""
        shape = (*self.prefixes.shape[:2], self.entry.dim)
        prefix = run(
            self.backend, self.entry.condition_graph, {"condition": self.prefixes}, prefix=(np.float32, shape)
        )[0]
        tokens = np.full(len(self.places), -1, dtype=np.int64)
        scores = self._feed(tokens, self.places, np.ascontiguousarray(prefix[:, self.places]))
        self.slots.forget(self.passing)
        return scores

    def feed(self, cells: NDArray[np.int64], tokens: NDArray[np.int64]) -> Scores:
        """Feed image tokens at grid cells; return the scores of what follows each."""
        prefix = self.no_prefix.get(len(cells))
        if prefix is None:  # a token is fed everywhere
            prefix = np.broadcast_to(np.float32(0), (self.batch, len(cells), self.entry.dim))
            self.no_prefix[len(cells)] = prefix
        return self._feed(tokens, cells + self.entry.prefix_length, prefix)

    def _each_row(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        rows = np.empty((self.batch, len(values)), dtype=np.int64)
        rows[:] = values
        return rows

    def _feed(self, tokens: NDArray[np.int64], positions: NDArray[np.int64], prefix: NDArray[np.float32]) -> Scores:
        if not self.slots.has_room(positions):
            self.backend.keep_slots(self.entry.graph, self.cache, self.slots.compact(positions))
        start = self.slots.place(positions)
        inputs: Tensors = {
            "tokens": self._each_row(tokens),
            "prefix": prefix,
            "positions": self._each_row(positions),
            "slot_ranks": self._each_row(self.slots.ranks),
            "write_index": np.full(self.batch, start, dtype=np.int64),
        }
        return self._checked(self.score(self.entry.graph, self.cache, inputs), len(tokens))

    def _checked(self, scores: Scores, fed: int) -> Scores:
        """Return the scores of a pass: logits in the host's memory are looked at each time, others as they can be.

        Raises:
            BackendError: they are none, or of another shape.
        """
        graph = self.entry.graph
        if isinstance(scores, HostLogits):
            checked(self.backend, graph, "logits", scores.all, np.float32, (self.batch, fed, self.entry.vocabulary))
        elif type(scores) is not self.kind_of_scores:
            kind: type[object] = type(scores)
            if not issubclass(kind, Scores):
                got = kind.__name__
                raise BackendError(f"backend {self.backend.name}: graph {graph}: expected engines.Scores, got {got}")
            self.kind_of_scores = kind
        return scores
