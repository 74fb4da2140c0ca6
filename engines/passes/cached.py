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
        self.graph, self.is_branched = entry.graph, entry.is_branched
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
        own, nodes, bits = positions, 0, {}
        if self.is_branched:
            nodes = len(parents)
            own = positions[: len(positions) - nodes]
        elif branches is not None or len(parents):
            raise BackendError(f"graph {self.graph}: expected tokens on no branch; branches are target_branched's")
        start = self._place(own, nodes)
        if self.is_branched:
            bits = self._bits(own, positions[len(own) :], branches, parents)
        inputs: Tensors = {
            "tokens": self.each_row(tokens),
            "positions": self.each_row(positions),
            "slot_ranks": self.each_row(self.slots.ranks),
            "write_index": np.full(self.batch, start, dtype=np.int64),
            **embedded,
            **bits,
        }
        return self._checked(self.score(self.graph, self.cache, inputs), len(tokens))

    def _place(self, own: Tokens, nodes: int) -> int:
        """Return the slot that a pass writes from; ordinary tokens have theirs then, and the nodes before are dead."""
        slots = self.slots
        if slots.nodes and len(own):
            slots.drop_nodes()
        if not slots.has_room(own, nodes):
            self.backend.keep_slots(self.graph, self.cache, slots.compact(own))
        return slots.place(own, nodes > 0) if len(own) else slots.used + slots.nodes

    def _bits(self, own: Tokens, nodes: Tokens, branches: Branches | None, parents: Tokens) -> dict[str, Tokens]:
        """Return who sees whom in a pass; nodes have their slots then.

        Args:
            own: Int64[n], positions of ordinary tokens.
            nodes: Int64[m], of nodes.
            branches: Of the ordinary tokens.
            parents: Int64[m].

        Raises:
            ValueError: branches and nodes at once, or more nodes than bits.
        """
        if branches is not None and len(nodes):
            raise ValueError("pass: expected branches or nodes of a tree, got both")
        self.slots.mark(own, ALL_BITS if branches is None else branches.slots)
        asked = np.full(len(own), ORDINARY if len(nodes) else NO_BITS, dtype=np.int64)
        if branches is not None:
            asked[:] = branches.queries
        if len(nodes):
            asked = np.concatenate([asked, self.slots.place_nodes(nodes, parents)])
        return {"branches": self.each_row(asked), "slot_branches": self.each_row(self.slots.bits)}

    def open(self, positions: Tokens) -> None:
        """Let tokens that stood on a branch, Int[n] positions, be seen by all: they are decided."""
        self.slots.mark(positions, ALL_BITS)

    def _checked(self, scores: Scores, fed: int) -> Scores:
        """Return the scores of a pass: logits in the host's memory are looked at each time, others as they can be.

        Raises:
            BackendError: they are none, or of another shape.
        """
        graph = self.graph
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
