"""Runs of consecutive slots, so that a compaction copies memory run by run."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class SlotRun(NamedTuple):
    """Consecutive slots, `length` from `source` on, that move to `destination` and on."""

    source: int
    destination: int
    length: int


def slot_runs(slots: NDArray[np.int64]) -> list[SlotRun]:
    """Merge the slots to keep into runs, in order; no destination lies after its source.

    Raises:
        ValueError: the slots are negative or not ascending.
    """
    if len(slots) == 0:
        return []
    steps = np.diff(slots)
    if slots[0] < 0 or (steps < 1).any():
        raise ValueError(f"slots: expected ascending numbers, 0 or larger, got {slots.tolist()}")
    starts = [0, *(np.flatnonzero(steps > 1) + 1).tolist()]
    ends = [*starts[1:], len(slots)]
    return [SlotRun(int(slots[start]), start, end - start) for start, end in zip(starts, ends, strict=True)]
