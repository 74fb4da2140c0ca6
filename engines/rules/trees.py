"""Trees of draft tokens; the engines' twin of `reference.trees`."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.rules.branches import Tree

Tokens = NDArray[np.int64]
# A node of a fixed tree: the ranks of its ancestors among their siblings, and its own.
Path = tuple[int, ...]
# How often a sibling of each rank is accepted, about, where those before it are not: what a fixed tree is cut to.
RANK_SHARES = (0.6, 0.25, 0.15, 0.1, 0.07, 0.05, 0.04, 0.03, 0.02, 0.02)
STATIC_NODES, STATIC_DEPTH = 57, 5


@dataclass(frozen=True)
class DraftTree:
    """Draft tokens of the cells from one on, n nodes; a parent stands before its children.

    Attributes:
        tokens: Int[n].
        parents: Int[n], the number of each one's parent; -1 of drafts of the first cell.
        depths: Int[n], how many cells behind the first each one's cell is.
        log_q: Float32[n, V], what each was drawn from, its siblings aside; None where drafts are certain, and q is 1.
    """

    tokens: Tokens
    parents: Tokens
    depths: Tokens
    log_q: NDArray[np.float32] | None = None

    @classmethod
    def none(cls) -> "DraftTree":
        """Return a tree without nodes."""
        empty = np.zeros(0, dtype=np.int64)
        return cls(empty, empty, empty)

    def children(self, node: int) -> list[int]:
        """Return the drafts that follow a node, in the order in which they are judged; -1: those of the first cell."""
        children: list[int] = np.flatnonzero(self.parents == node).tolist()
        return children

    def at(self, cell: int) -> Tree:
        """Return the tree as a pass is fed it, its first nodes drafts of a cell."""
        return Tree(cell + self.depths, self.tokens, self.parents)


@cache
def static_paths(nodes: int = STATIC_NODES, depth: int = STATIC_DEPTH) -> tuple[Path, ...]:
    """Return the nodes of a fixed tree, each as the ranks of its ancestors and its own, parents first.

    They are those that are reached most often if siblings are accepted by RANK_SHARES.
    """
    paths: dict[Path, float] = {(): 1.0}
    while len(paths) <= nodes:
        open_paths = {
            (*path, rank): reached * share
            for path, reached in paths.items()
            if len(path) < depth
            for rank, share in enumerate(RANK_SHARES)
            if (*path, rank) not in paths and (rank == 0 or (*path, rank - 1) in paths)
        }
        best = max(open_paths, key=lambda path: open_paths[path])
        paths[best] = open_paths[best]
    return tuple(sorted((path for path in paths if path), key=lambda path: (len(path), path)))
