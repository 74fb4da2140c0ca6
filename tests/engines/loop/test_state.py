"""One model in the middle of a decode by sweeps: what is guessed, what is decided, and what the next pass feeds."""

from dataclasses import dataclass

import numpy as np
import pytest

from mulo_sd import engines
from mulo_sd.engines.loop.state import ModelState
from mulo_sd.engines.rules.trace import Pass, Trace
from tests.engines.loop.toys import FIELDS, PREFIX, Toy


@dataclass
class Fed:
    """A state, and the cells of its last pass."""

    state: ModelState

    @property
    def last_pass(self) -> Pass:
        return self.state.trace.passes[-1]

    @property
    def cells(self) -> list[int]:
        return [int(position) - PREFIX for position in self.last_pass.positions]


@pytest.fixture
def fed(toy: Toy) -> Fed:
    """The target after a first sweep: cell 0 is decided, 1 to 4 are guessed, and a pass has fed 0 to 3."""
    condition = engines.Condition(*np.ones((2, PREFIX, FIELDS), dtype=np.int64))
    entry, settings = toy.bundle.manifest.models[0], engines.Settings(first_guess="left")
    state = ModelState(
        *(toy.backend, entry, 0, condition, toy.bundle.null_conditions[0], settings, 3, Trace()),
        record_logits=False,
    )
    state.decide([0], np.array([5]))
    state.guess([1, 2, 3])
    state.query([1, 2, 3, 4], also_feed=[1, 2, 3])
    return Fed(state)


def test_first_guesses_stand_in_the_grid_and_are_fed(fed: Fed) -> None:
    """SWEEP-5: each the token to its left; only cells that have none are guessed."""
    assert fed.state.grid[:5].tolist() == [5, 5, 5, 5, -1]
    assert fed.cells == [0, 1, 2, 3]
    fed.state.guess([2, 3])
    assert fed.state.grid[:5].tolist() == [5, 5, 5, 5, -1]


def test_a_right_guess_that_was_fed_is_not_fed_again(fed: Fed) -> None:
    """SWEEP-3: the first that differs is; the others are the next guesses."""
    fed.state.settle([1, 2, 3, 4], np.array([5, 6, 7, 8]), np.array([True, True, False, False]), fed.last_pass)
    assert fed.state.grid[:5].tolist() == [5, 5, 6, 7, 8]
    assert fed.state.pending == {2}, "cell 1 was fed with its very token"
    assert fed.state.unfed == {3, 4}
    fed.state.query([3, 4], also_feed=[3])
    assert fed.cells == [2, 3]
    assert fed.state.pending == set()
    assert fed.state.unfed == {4}


def test_a_decided_cell_that_was_not_fed_is_pending(fed: Fed) -> None:
    """KV-3: cell 4's sample is right whatever its guess was, and no pass has fed it."""
    fed.state.settle([1, 2, 3, 4], np.array([5, 5, 5, 5]), np.ones(4, dtype=np.bool_), fed.last_pass)
    assert fed.state.pending == {4}
    assert fed.state.unfed == set()


def test_what_no_query_sees_waits(fed: Fed) -> None:
    """KV-3: a pending cell behind the last queried one is fed by a later pass."""
    fed.state.decide([9], np.array([2]))
    fed.state.query([2, 3], also_feed=[2])
    assert fed.cells == [1, 2]
    assert fed.state.pending == {9}
    fed.state.query([10])
    assert fed.cells == [9]
    assert fed.state.pending == set()


def test_nothing_that_stays_as_it_is_is_touched(fed: Fed) -> None:
    """Guesses that were fed and come out the same are neither pending nor unfed."""
    before = fed.state.grid.copy()
    fed.state.settle([1, 2, 3], np.array([5, 5, 5]), np.array([True, False, False]), fed.last_pass)
    assert fed.state.grid.tolist() == before.tolist()
    assert (fed.state.pending, fed.state.unfed) == (set(), set())
