"""Slot tables: an append-only cache shows every query what a position-addressed one shows it."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mulo_sd.engines.rules.slots import DEAD_RANK, SlotTable

POSITIONS = 9


class Step(NamedTuple):
    """Feed positions, ascending; or drop dead slots and those of the positions."""

    positions: list[int]
    compacts: bool


steps = st.builds(Step, st.sets(st.integers(0, POSITIONS - 1)).map(sorted), st.booleans())


class Cache:
    """A slot table with what a backend would keep beside it: one value a slot."""

    def __init__(self, spare: int) -> None:
        self.table = SlotTable(POSITIONS + spare, POSITIONS)
        self.values = np.full(POSITIONS + spare, -1)
        self.compactions = 0

    def compact(self, leaving: NDArray[np.int64]) -> None:
        live = self.table.ranks[: self.table.used] != DEAD_RANK
        expected = live & ~np.isin(self.table.ranks[: self.table.used], leaving)
        kept = self.table.compact(leaving)
        np.testing.assert_array_equal(kept, np.flatnonzero(expected))  # all of them, ascending
        self.values[: len(kept)] = self.values[kept]
        self.compactions += 1

    def feed(self, positions: NDArray[np.int64], values: NDArray[np.int64]) -> None:
        """Write values as a pass does: compact first where they do not fit."""
        if not self.table.has_room(positions):
            self.compact(positions)
        used = self.table.used
        start = self.table.place(positions)
        if start == used:
            assert self.table.used == used + len(positions) <= len(self.values)
        else:
            assert self.table.used == max(used, start + len(positions)), "only those behind the last take new ones"
        self.values[start : start + len(positions)] = values

    def seen_by(self, query: int) -> dict[int, int]:
        """Return position to value of the slots whose rank is at most the query's position."""
        slots = np.flatnonzero(self.table.ranks <= query)
        seen = {int(self.table.ranks[slot]): int(self.values[slot]) for slot in slots}
        assert len(seen) == len(slots), "a position is held by two live slots"
        return seen


@given(st.lists(steps, max_size=25), st.integers(0, 6))
@settings(deadline=None)
def test_query_sees_what_a_position_addressed_cache_shows(sequence: list[Step], spare: int) -> None:
    """After every step, every query sees the last value of every position up to its own, and nothing else."""
    cache, model = Cache(spare), dict[int, int]()
    for number, (positions, compacts) in enumerate(sequence):
        fed = np.array(positions, dtype=np.int64)
        if compacts:
            cache.compact(fed)
            model = {position: value for position, value in model.items() if position not in positions}
        else:
            values = 100 * number + fed
            cache.feed(fed, values)
            model |= dict(zip(positions, values.tolist(), strict=True))
        for query in range(POSITIONS):
            expected = {position: value for position, value in model.items() if position <= query}
            assert cache.seen_by(query) == expected
        assert (cache.table.ranks[cache.table.used :] == DEAD_RANK).all()
        for position in range(POSITIONS):
            slot = cache.table.slot_of_position[position]
            assert (slot >= 0) == (position in model)
            assert slot < 0 or cache.table.ranks[slot] == position


@pytest.mark.parametrize("spare", [0, 1, 4])
def test_a_long_run_never_runs_out_of_slots(spare: int) -> None:
    """With as many slots as positions every feed fits after compaction, however often positions are fed again."""
    generator = np.random.default_rng(spare)
    cache = Cache(spare)
    for number in range(300):
        fed = np.sort(generator.permutation(POSITIONS)[: generator.integers(1, POSITIONS + 1)])
        cache.feed(fed, fed + 100 * number)
    assert cache.compactions > 50
    assert cache.table.used <= POSITIONS + spare


def test_has_room() -> None:
    table = SlotTable(3, 5)
    assert table.has_room(np.arange(3))
    assert not table.has_room(np.arange(4))
    table.place(np.array([4, 0]))
    assert table.has_room(np.array([1]))
    assert not table.has_room(np.array([1, 2]))
    assert table.has_room(np.array([4, 0])), "they keep their slots"
    assert not table.has_room(np.array([0, 4])), "their slots are not in this order"


def test_positions_keep_consecutive_slots() -> None:
    table = SlotTable(6, 6)
    assert table.place(np.array([0, 1, 2])) == 0
    assert table.place(np.array([1, 2])) == 1
    assert table.used == 3
    assert table.place(np.array([0, 2])) == 3, "slots 0 and 2 do not lie side by side"
    assert table.ranks.tolist() == [DEAD_RANK, 1, DEAD_RANK, 0, 2, DEAD_RANK]


def test_where_passes_are_padded_no_slot_is_written_twice() -> None:
    table = SlotTable(6, 6, reuse=False)
    table.place(np.array([0, 1, 2]))
    assert table.place(np.array([1])) == 3


def test_compact_an_empty_table() -> None:
    table = SlotTable(3, 5)
    assert table.compact(np.array([], dtype=np.int64)).tolist() == []
    assert table.compact(np.array([1, 2])).tolist() == []
    assert table.used == 0


def test_a_sweep_writes_its_guesses_over_those_of_the_last() -> None:
    """SWEEP-3: positions at the end of the table keep their slots, those behind them come after, and nothing dies."""
    table = SlotTable(8, 8)
    table.place(np.arange(4))
    assert table.place(np.array([2, 3, 4, 5])) == 2
    assert (table.used, table.ranks.tolist()) == (6, [0, 1, 2, 3, 4, 5, DEAD_RANK, DEAD_RANK])
    assert table.has_room(np.array([4, 5, 6, 7]))
    assert not table.has_room(np.array([3, 4, 5, 6, 7, 1]))
    assert table.place(np.array([5, 6])) == 5
    assert table.used == 7


@pytest.mark.parametrize("fed", [[2, 3, 1], [3, 2, 4], [2, 4, 3], [4, 2, 3], [1, 3, 4]])
def test_others_take_new_slots(fed: list[int]) -> None:
    """Where a position in the middle already lives, is out of order or leaves a gap, no slot is used again."""
    table = SlotTable(8, 8)
    table.place(np.arange(4))
    assert table.place(np.array(fed)) == 4
    assert table.ranks[4 : 4 + len(fed)].tolist() == fed


def test_padded_passes_keep_slots_only_where_nothing_lives_behind() -> None:
    """A pass that ends the table may grow there; padding lies behind it, in slots that are free."""
    table = SlotTable(8, 8, reuse=False)
    table.place(np.arange(4))
    assert table.place(np.array([2, 3, 4])) == 2
    assert table.place(np.array([2, 3])) == 5, "slot 4 lives behind them"
