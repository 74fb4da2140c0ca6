"""Runs of slots that a compaction moves."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulo_sd.engines.backends.tensorrt.slot_runs import SlotRun, slot_runs


@given(st.sets(st.integers(0, 40)))
@settings(deadline=None)
def test_slot_runs_gather(kept: set[int]) -> None:
    """Moving the runs one after another equals taking the slots; no run can be merged with the next."""
    slots = np.array(sorted(kept), dtype=np.int64)
    runs = slot_runs(slots)
    values = np.arange(41)
    moved = values.copy()
    for run in runs:
        assert run.destination <= run.source
        moved[run.destination : run.destination + run.length] = values[run.source : run.source + run.length]
    np.testing.assert_array_equal(moved[: len(slots)], slots)
    for run, following in itertools.pairwise(runs):
        assert following.destination == run.destination + run.length
        assert following.source > run.source + run.length


def test_slot_runs_examples() -> None:
    assert slot_runs(np.array([], dtype=np.int64)) == []
    assert slot_runs(np.array([0, 1, 2])) == [SlotRun(0, 0, 3)]
    assert slot_runs(np.array([0, 3, 4, 9])) == [SlotRun(0, 0, 1), SlotRun(3, 1, 2), SlotRun(9, 3, 1)]


@pytest.mark.parametrize("slots", [[1, 1], [2, 1], [-1, 0]])
def test_slot_runs_refuse_what_is_not_ascending(slots: list[int]) -> None:
    with pytest.raises(ValueError, match="expected ascending"):
        slot_runs(np.array(slots))
