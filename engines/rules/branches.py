"""Who sees the tokens of a pass that stand on branches: siblings of a tree, and rows that are drafted side by side.

A slot has bits, and so has a query, an int64 each: a query sees a slot whose rank is at most its position as far as
the slot has every bit of the query's. Ordinary tokens have slots with all bits, and ask for none.

The nodes of a tree are tokens that are fed beside the ordinary ones, several of them at one position. Each has a bit
of its own and asks for it; its slot has the bits of the node and of all its descendants. So a node sees the ordinary
tokens, its ancestors and itself. Where nodes come, the branches of ordinary tokens end, and those that are fed in the
same pass ask for a bit that no node has.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.parts import MAX_NODES

Tokens = NDArray[np.int64]
ALL_BITS, NO_BITS = -1, 0
# That slots of ordinary tokens have and no node has.
ORDINARY = 1 << MAX_NODES


class Branches(NamedTuple):
    """Of the ordinary tokens of a pass.

    Attributes:
        queries: Int64[n], the bits, of 0..MAX_NODES - 1, that a slot must have to be seen by each; 0 asks for none.
        slots: Int64[n], the bits that each one's slot has; ALL_BITS of one that is decided.
    """

    queries: Tokens
    slots: Tokens


class RowDrafts(NamedTuple):
    """Rows that are drafted side by side (METHOD-5), each on a branch of its own; twin of the reference's.

    Attributes:
        queried: The branch of each cell that is asked for.
        drafted: The branch of each cell whose token is fed and not decided.
    """

    queried: Mapping[int, int]
    drafted: Mapping[int, int]

    def branches(self, fed: Tokens) -> Branches:
        """Return the bits of a pass that feeds cells, Int64[n]: what follows one is asked for on its branch."""
        cells = fed.tolist()
        queries = [1 << self.queried[cell + 1] if cell + 1 in self.queried else NO_BITS for cell in cells]
        slots = [1 << self.drafted[cell] if cell in self.drafted else ALL_BITS for cell in cells]
        return Branches(np.array(queries, dtype=np.int64), np.array(slots, dtype=np.int64))


class Tree(NamedTuple):
    """Nodes that a pass feeds, m of them.

    Attributes:
        cells: Int64[m], where each stands in the grid.
        tokens: Int64[m].
        parents: Int64[m], the number of each one's parent in the order in which the nodes that live were fed; -1 of
            those that follow the last ordinary token.
    """

    cells: Tokens
    tokens: Tokens
    parents: Tokens


def tree_bits(slots: Tokens, parents: Tokens) -> tuple[Tokens, Tokens]:
    """Return the bits of nodes to which more come.

    Args:
        slots: Int64[n], the bits of the slots of those that live.
        parents: Int64[m], of those that come.

    Returns:
        Int64[n + m], the bits of all their slots; Int64[m], the bits that those that come ask for.

    Raises:
        ValueError: a parent does not come before its child, or there are more nodes than bits.
    """
    old, count = len(slots), len(slots) + len(parents)
    if count > MAX_NODES:
        raise ValueError(f"tree: expected at most {MAX_NODES} nodes, got {count}")
    asked = np.int64(1) << np.arange(old, count, dtype=np.int64)
    bits = np.concatenate([slots, asked])
    for node, parent in enumerate(parents.tolist(), start=old):
        if not -1 <= parent < node:
            raise ValueError(f"tree: expected the parent of node {node} in -1..{node - 1}, got {parent}")
        if parent >= 0:  # whatever has the parent's bit is the parent or an ancestor of it
            bits[(bits >> parent) & 1 == 1] |= np.int64(1) << node
    return bits, asked
