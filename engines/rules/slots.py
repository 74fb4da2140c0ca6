"""Slot bookkeeping: which sequence position each slot of an append-only KV cache holds."""

import numpy as np
from numpy.typing import NDArray

# Larger than every query's position: nobody sees a dead slot.
DEAD_RANK = int(np.iinfo(np.int64).max)


class SlotTable:
    """The slots of one cache.

    Attributes:
        ranks: Int[slots], the position that a slot holds, or DEAD_RANK.
        used: Slots written so far; the next pass writes from here on.
    """

    def __init__(self, slots: int, positions: int, reuse: bool = True) -> None:
        """Make an empty table.

        Args:
            slots: How many there are.
            positions: How many positions a sequence has.
            reuse: Whether positions may keep their slots. Not where passes are padded: padding is written behind a
                pass's own tokens, where nothing of worth may lie then.
        """
        self.ranks = np.full(slots, DEAD_RANK, dtype=np.int64)
        self.slot_of_position = np.full(positions, -1, dtype=np.int64)
        self.used = 0
        self.reuse = reuse

    def has_room(self, positions: NDArray[np.int64]) -> bool:
        """Whether positions can be placed without compaction."""
        return self.used + len(positions) <= len(self.ranks) or self._kept(positions) >= 0

    def _kept(self, positions: NDArray[np.int64]) -> int:
        """Return the first of the consecutive slots that hold positions in their order; -1 where they do not."""
        if not self.reuse or len(positions) == 0:
            return -1
        old = self.slot_of_position[positions]
        first = int(old[0])
        if first >= 0 and int(old[-1]) == first + len(old) - 1 and (len(old) <= 2 or bool((np.diff(old) == 1).all())):
            return first
        return -1

    def compact(self, leaving: NDArray[np.int64]) -> NDArray[np.int64]:
        """Drop dead slots and those of the positions `leaving`; return the slots kept, ascending."""
        self.forget(leaving)
        kept = np.flatnonzero(self.ranks[: self.used] != DEAD_RANK)
        positions = self.ranks[kept]
        self.ranks[:] = DEAD_RANK
        self.ranks[: len(kept)] = positions
        self.slot_of_position[:] = -1
        self.slot_of_position[positions] = np.arange(len(kept))
        self.used = len(kept)
        return kept

    def place(self, positions: NDArray[np.int64]) -> int:
        """Give positions consecutive slots, in their order; return the first.

        Positions whose slots are consecutive keep them and are written over there: what they held is stale, and a slot
        that nobody sees any more would cost every later pass. Others get the next slots, and the old ones die.
        """
        first = self._kept(positions)
        if first >= 0:
            return first
        self.forget(positions)
        start = self.used
        self.used += len(positions)
        self.ranks[start : self.used] = positions
        self.slot_of_position[positions] = np.arange(start, self.used)
        return start

    def forget(self, positions: NDArray[np.int64]) -> None:
        """Let the slots of positions die: no later pass sees them."""
        old = self.slot_of_position[positions]
        living = old >= 0
        if living.any():
            self.ranks[old[living]] = DEAD_RANK
            self.slot_of_position[positions] = -1
