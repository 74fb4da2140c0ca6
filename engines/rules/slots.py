"""The slot table of an append-only KV cache: which sequence position each slot holds."""

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.rules.branches import ALL_BITS, tree_bits

# Larger than every query's position: no query attends to a dead slot.
DEAD_RANK = int(np.iinfo(np.int64).max)


class SlotTable:
    """The slots of one cache.

    Attributes:
        ranks: Int[slots], the position that a slot holds, or DEAD_RANK.
        bits: Int[slots], on which branches its token stands (`rules.branches`).
        used: Slots written so far; the next pass writes from here on.
        nodes: Slots behind those, which hold the nodes of a tree.
    """

    def __init__(self, slots: int, positions: int, reuse: bool = True) -> None:
        """Make an empty table.

        Args:
            slots: How many slots the cache has.
            positions: How many positions a sequence has.
            reuse: Whether positions may keep their slots. Padded passes must not: padding is written behind a pass's
                own tokens, and would overwrite living slots.
        """
        self.ranks = np.full(slots, DEAD_RANK, dtype=np.int64)
        self.bits = np.full(slots, ALL_BITS, dtype=np.int64)
        self.slot_of_position = np.full(positions, -1, dtype=np.int64)
        self.used = self.nodes = 0
        self.reuse = reuse

    def has_room(self, positions: NDArray[np.int64], nodes: int = 0) -> bool:
        """Return whether positions, and so many nodes behind them, can be placed without compaction."""
        start = self._reusable(positions, at_end=nodes > 0)
        first = self.used + self.nodes if start < 0 else start
        return first + len(positions) + nodes <= len(self.ranks)

    def _reusable(self, positions: NDArray[np.int64], at_end: bool) -> int:
        """Return the first slot of positions that may be written over what they hold; -1 for others.

        Either all of them have consecutive slots, in their order; or the first few do, up to the last slot used, behind
        which the others come: so a sweep feeds its guesses again.
        """
        if len(positions) == 0:
            return -1
        old = self.slot_of_position[positions]
        first = int(old[0])
        if first < 0:
            return -1
        count = min(len(old), self.used - first)
        if not (count == 1 or bool((old[:count] == np.arange(first, first + count)).all())):
            return -1
        if count < len(old):
            return first if count == self.used - first and bool((old[count:] < 0).all()) else -1
        return first if (self.reuse and not at_end) or first + count == self.used else -1

    def compact(self, leaving: NDArray[np.int64]) -> NDArray[np.int64]:
        """Drop dead slots and those of the positions `leaving`; return the slots kept, ascending."""
        self.forget(leaving)
        kept = np.flatnonzero(self.ranks[: self.used + self.nodes] != DEAD_RANK)
        self.used = len(kept) - self.nodes
        for numbers, empty in ((self.ranks, DEAD_RANK), (self.bits, ALL_BITS)):
            living = numbers[kept]
            numbers[:] = empty
            numbers[: len(kept)] = living
        self.slot_of_position[:] = -1
        self.slot_of_position[self.ranks[: self.used]] = np.arange(self.used)
        return kept

    def place(self, positions: NDArray[np.int64], at_end: bool = False) -> int:
        """Give positions consecutive slots, in their order; return the first.

        Positions whose slots are consecutive keep them, and are overwritten there: the content is stale, and a dead
        slot would cost every later pass. Other positions get the next slots, and their old ones die.

        Args:
            positions: Int[n].
            at_end: Whether their slots must be the last ones, since nodes follow in the same pass.
        """
        start = self._reusable(positions, at_end)
        if start >= 0 and start + len(positions) <= self.used:
            return start
        if start < 0:
            self.forget(positions)
            start = self.used
        self.used = start + len(positions)
        self.ranks[start : self.used] = positions
        self.slot_of_position[positions] = np.arange(start, self.used)
        return start

    def place_zeros(self, positions: NDArray[np.int64]) -> None:
        """Let positions be seen before anything is written there: the cache's zeros (MODE-UNMASKED).

        First of all, so that nothing was written into their slots, padding neither. From now on no slot is written
        over: backends attend to the slots before the end of a pass's own, and these are to be among them.
        """
        self.place(positions)
        self.reuse = False

    def mark(self, positions: NDArray[np.int64], bits: NDArray[np.int64] | int) -> None:
        """Say on which branches the tokens at positions stand; ALL_BITS of those that are decided."""
        self.bits[self.slot_of_position[positions]] = bits

    def place_nodes(self, positions: NDArray[np.int64], parents: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give nodes of a tree the slots behind all others; whatever stood on a branch is seen by all from now on.

        Args:
            positions: Int[m], where they stand; several may stand at one.
            parents: Int[m], as in `rules.branches.Tree`.

        Returns:
            Int[m], the bits that they ask for.

        Raises:
            ValueError: as of `tree_bits`.
        """
        bits, asked = tree_bits(self.bits[self.used : self.used + self.nodes], parents)
        self.bits[: self.used] = ALL_BITS
        self.nodes = len(bits)
        end = self.used + self.nodes
        self.bits[self.used : end] = bits
        self.ranks[end - len(positions) : end] = positions
        return asked

    def drop_nodes(self) -> None:
        """Let the nodes of a tree die; the next pass writes over them."""
        if self.nodes:
            self.ranks[self.used : self.used + self.nodes] = DEAD_RANK
            self.bits[self.used : self.used + self.nodes] = ALL_BITS
            self.nodes = 0

    def forget(self, positions: NDArray[np.int64]) -> None:
        """Mark the slots of positions as dead: no later pass attends to them."""
        old = self.slot_of_position[positions]
        living = old >= 0
        if living.any():
            self.ranks[old[living]] = DEAD_RANK
            self.slot_of_position[positions] = -1
