"""Who sees the tokens of a pass that stand on branches: siblings of a tree, and rows that are drafted side by side.

A token may be fed with two sets of bits. A query sees what KV-1 shows it as far as it has every bit of the query's.
Ordinary tokens have all bits, and ask for none.

The nodes of a tree are tokens that are fed beside the ordinary ones, several of them at one position. A node sees the
ordinary tokens, its ancestors and itself; no ordinary token sees a node. Nodes live until ordinary tokens are fed.
Where nodes come, the branches of ordinary tokens end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mulo_sd.reference.parts import MAX_NODES

ALL_BITS = -1


class Branches(NamedTuple):
    """Of the tokens of a pass.

    Attributes:
        queries: Int[T], the bits that a token must have to be seen by each.
        slots: Int[T], the bits that each has; ALL_BITS of one that is decided.
    """

    queries: Tensor
    slots: Tensor


class RowDrafts(NamedTuple):
    """Rows that are drafted side by side (METHOD-5), each on a branch of its own.

    Attributes:
        queried: The branch of each cell that is asked for.
        drafted: The branch of each cell whose token is fed and not decided.
    """

    queried: Mapping[int, int]
    drafted: Mapping[int, int]

    def branches(self, fed: Sequence[int]) -> Branches:
        """Return the bits of a pass that feeds cells: what follows one is asked for on its branch."""
        queries = [1 << self.queried[cell + 1] if cell + 1 in self.queried else 0 for cell in fed]
        slots = [1 << self.drafted[cell] if cell in self.drafted else ALL_BITS for cell in fed]
        return Branches(torch.tensor(queries), torch.tensor(slots))


@dataclass
class Nodes:
    """The living nodes of a tree, in the order in which they were fed.

    Attributes:
        positions: Int[n], where each stands in the sequence.
        seen: Bool[n, n], which nodes each of them sees: its ancestors and itself.
    """

    positions: Tensor
    seen: Tensor

    @classmethod
    def none(cls) -> "Nodes":
        """Return a tree without nodes."""
        return cls(torch.zeros(0, dtype=torch.long), torch.zeros(0, 0, dtype=torch.bool))

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.positions)

    def add(self, positions: Tensor, parents: Tensor) -> None:
        """Add nodes.

        Args:
            positions: Int[m].
            parents: Int[m], the number of each one's parent, in the order of feeding; -1 of those that follow the last
                ordinary token.

        Raises:
            ValueError: a parent is not fed before its child, or there are more nodes than bits.
        """
        old = len(self)
        if old + len(positions) > MAX_NODES:
            raise ValueError(f"tree: expected at most {MAX_NODES} nodes, got {old + len(positions)}")
        seen = torch.eye(old + len(positions), dtype=torch.bool)
        seen[:old, :old] = self.seen
        for node, parent in enumerate(parents.tolist(), start=old):
            if not -1 <= parent < node:
                raise ValueError(f"tree: expected the parent of node {node} in -1..{node - 1}, got {parent}")
            if parent >= 0:
                seen[node] |= seen[parent]
        self.positions, self.seen = torch.cat([self.positions, positions]), seen
