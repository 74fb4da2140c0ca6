"""Passes of one transformer of a bundle: its prefix, then image tokens."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.backends.answers import run
from mulo_sd.engines.backends.base import Backend, Scores
from mulo_sd.engines.bundle.manifest import TransformerEntry
from mulo_sd.engines.passes.cached import NO_TOKENS, CachedPasses
from mulo_sd.engines.rules.branches import Branches, Tree


class TransformerSession(CachedPasses):
    """One transformer in one decode: feeds (position, token) pairs and returns logits (KV-1)."""

    entry: TransformerEntry

    def __init__(
        self,
        backend: Backend,
        entry: TransformerEntry,
        prefixes: NDArray[Any],
        places: NDArray[np.int64] | None = None,
        passing: NDArray[np.int64] | None = None,
        sees_zeros: bool = False,
    ) -> None:
        """Prepare a session.

        Args:
            backend: Runs the graphs.
            entry: The transformer, from the bundle's manifest; `Manifest.branched` for hidden states and branches.
            prefixes: Int64[B, P, fields] or Float32[B, P, width], B = 2 with guidance (conditional first), else 1.
            places: Int[n], the prefix tokens that the prefill feeds, ascending; None is all of them.
            passing: Int[n], those among them that no later pass sees; None is none of them.
            sees_zeros: Whether cells that nothing was fed for are seen, as zeros (MODE-UNMASKED).

        Raises:
            BackendError: as of `CachedPasses`.
        """
        super().__init__(backend, entry, len(prefixes))
        self.prefixes = prefixes
        self.places = np.arange(entry.prefix_length) if places is None else places
        self.passing = NO_TOKENS if passing is None else passing
        if sees_zeros:
            self.slots.place_zeros(np.arange(entry.prefix_length, entry.sequence_length))
        self.no_prefix: dict[int, NDArray[np.float32]] = {}  # by the number of tokens

    def prefill(self) -> Scores:
        """Feed the prefix (PREFILL)."""
        shape = (*self.prefixes.shape[:2], self.entry.dim)
        prefix = run(
            self.backend, self.entry.condition_graph, {"condition": self.prefixes}, prefix=(np.float32, shape)
        )[0]
        tokens = np.full(len(self.places), -1, dtype=np.int64)
        scores = self.run_pass(tokens, self.places, {"prefix": np.ascontiguousarray(prefix[:, self.places])})
        self.slots.forget(self.passing)
        return scores

    def feed(
        self,
        cells: NDArray[np.int64],
        tokens: NDArray[np.int64],
        branches: Branches | None = None,
        tree: Tree | None = None,
    ) -> Scores:
        """Feed image tokens at grid cells; return the scores of what follows each.

        Args:
            cells: Int64[n].
            tokens: Int64[n].
            branches: On which they stand; only of `Manifest.branched`.
            tree: Nodes that are fed in the same pass; their scores are the last rows. They live until ordinary tokens
                are fed again.
        """
        parents = NO_TOKENS
        if tree is not None:
            cells, tokens = np.concatenate([cells, tree.cells]), np.concatenate([tokens, tree.tokens])
            parents = tree.parents
        prefix = self.no_prefix.get(len(cells))
        if prefix is None:  # a token is fed everywhere
            prefix = np.broadcast_to(np.float32(0), (self.batch, len(cells), self.entry.dim))
            self.no_prefix[len(cells)] = prefix
        return self.run_pass(tokens, cells + self.entry.prefix_length, {"prefix": prefix}, branches, parents)
