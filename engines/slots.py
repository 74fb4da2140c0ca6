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

    def __init__(self, slots: int, positions: int) -> None:
        self.ranks = np.full(slots, DEAD_RANK, dtype=np.int64)
        self.slot_of_position = np.full(positions, -1, dtype=np.int64)
        self.used = 0

    def has_room(self, count: int) -> bool:
        """Whether `count` more tokens fit without compaction."""
        return self.used + count <= len(self.ranks)

    def compact(self, leaving: NDArray[np.int64]) -> NDArray[np.int64]:
        """Drop dead slots and those of the positions `leaving`; return the slots kept, ascending."""
        self._kill(leaving)
        kept = np.flatnonzero(self.ranks[: self.used] != DEAD_RANK)
        positions = self.ranks[kept]
        self.ranks[:] = DEAD_RANK
        self.ranks[: len(kept)] = positions
        self.slot_of_position[:] = -1
        self.slot_of_position[positions] = np.arange(len(kept))
        self.used = len(kept)
        return kept

    def append(self, positions: NDArray[np.int64]) -> int:
        """Give positions the next slots, killing those that held them before; return the first new slot."""
        self._kill(positions)
        start = self.used
        self.used += len(positions)
        self.ranks[start : self.used] = positions
        self.slot_of_position[positions] = np.arange(start, self.used)
        return start

    def _kill(self, positions: NDArray[np.int64]) -> None:
        old = self.slot_of_position[positions]
        self.ranks[old[old >= 0]] = DEAD_RANK
        self.slot_of_position[positions] = -1
