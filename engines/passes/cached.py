"""Passes of one graph over a slot-addressed cache."""

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.backends.answers import checked
from mulo_sd.engines.backends.base import Backend, BackendError, Floats, Scores, Tensors
from mulo_sd.engines.backends.host_scores import HostLogits, scorer
from mulo_sd.engines.bundle.manifest import PassesEntry
from mulo_sd.engines.rules.branches import ALL_BITS, NO_BITS, ORDINARY, Branches
from mulo_sd.engines.rules.slots import SlotTable

Tokens = NDArray[np.int64]
NO_TOKENS = np.zeros(0, dtype=np.int64)


class CachedPasses:
    """One graph's cache in one decode, and the slots in which it holds what was fed (KV-1)."""

    def __init__(self, backend: Backend, entry: PassesEntry, batch: int) -> None:
        """Make an empty cache.

        Args:
            backend: Runs the graph.
            entry: The graph, from the bundle's manifest.
            batch: Rows: 2 with guidance (conditional first), else 1.

        Raises:
            BackendError: the graph's tokens may stand on branches, and the backend cannot tell who sees whom then.
        """
        if entry.is_branched and not backend.traits.branches:
            raise BackendError(
                f"backend {backend.name}: graph {entry.graph}: expected traits.branches, got False: it has no trees, "
                "rows side by side or hidden states; choose another mode, or --backend ort or torch-cuda"
            )
        self.backend, self.entry, self.batch = backend, entry, batch
        self.score = scorer(backend)
        self.cache = backend.new_cache(entry.graph, batch)
        self.kind_of_scores: type | None = None
        self.slots = SlotTable(entry.slots, entry.sequence_length, reuse=not backend.traits.pads_passes)

    def each_row(self, values: Tokens) -> Tokens:
        """Return the same numbers for every row of the batch, Int64[B, n]."""
        rows = np.empty((self.batch, len(values)), dtype=np.int64)
        rows[:] = values
        return rows

    def run_pass(
        self,
        tokens: Tokens,
        positions: Tokens,
        embedded: Tensors,
        branches: Branches | None = None,
        parents: Tokens = NO_TOKENS,
    ) -> Scores:
        """Run a pass.

        Args:
            tokens: Int64[T], ordinary ones, then nodes of a tree.
            positions: Int64[T], of ordinary tokens distinct.
            embedded: The graph's other inputs of each token.
            branches: Of the ordinary tokens; None where they stand on none.
            parents: Int64[m], of the nodes, the last m tokens (`rules.branches.Tree`).

        Raises:
            BackendError: branches or nodes, of a graph that has none.
            ValueError: both at once.
        """
        entry, slots, nodes = self.entry, self.slots, len(parents)
        if (branches is not None or nodes) and not entry.is_branched:
            raise BackendError(f"graph {entry.graph}: expected tokens on no branch; branches are target_branched's")
        if branches is not None and nodes:
            raise ValueError("pass: expected branches or nodes of a tree, got both")
        own = positions[: len(positions) - nodes]
        if len(own):
            slots.drop_nodes()
        if not slots.has_room(own, nodes):
            self.backend.keep_slots(entry.graph, self.cache, slots.compact(own))
        start = slots.place(own, at_end=nodes > 0) if len(own) else slots.used + slots.nodes
        inputs = {
            "tokens": self.each_row(tokens),
            "positions": self.each_row(positions),
            "slot_ranks": NO_TOKENS,
            "write_index": np.full(self.batch, start, dtype=np.int64),
            **embedded,
        }
        if entry.is_branched:
            slots.mark(own, ALL_BITS if branches is None else branches.slots)
            asked = np.full(len(own), ORDINARY if nodes else NO_BITS, dtype=np.int64)
            if branches is not None:
                asked[:] = branches.queries
            if nodes:
                asked = np.concatenate([asked, slots.place_nodes(positions[len(own) :], parents)])
            inputs |= {"branches": self.each_row(asked), "slot_branches": self.each_row(slots.bits)}
        inputs["slot_ranks"] = self.each_row(slots.ranks)
        return self._checked(self.score(entry.graph, self.cache, inputs), len(tokens))

    def open(self, positions: Tokens) -> None:
        """Let tokens that stood on a branch, Int[n] positions, be seen by all: they are decided."""
        self.slots.mark(positions, ALL_BITS)

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

    def hidden_of(self, scores: Scores) -> Floats:
        """Return the hidden states of a pass, Float32[B, T, dim].

        Raises:
            BackendError: a backend gives none, or of another shape.
        """
        states = scores.hidden()
        fed = states.shape[1] if isinstance(states, np.ndarray) and states.ndim > 1 else 0
        hidden: Floats = checked(
            self.backend, self.entry.graph, "hidden", states, np.float32, (self.batch, fed, self.entry.dim)
        )
        return hidden
