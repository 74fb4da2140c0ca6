"""Sweeps: the engines sample, feed and decide the same cells as the reference, whatever the samples are."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mulo_sd.engines.parts import DRAFT, ISLANDS, Order
from mulo_sd.engines.rules.schedule import Schedule, schedule_of
from mulo_sd.engines.rules.sweeps import Sweeps, certain, first_guesses
from mulo_sd.engines.settings import Settings
from mulo_sd.reference import sweeps as reference

Mask = NDArray[np.bool_]
Tokens = NDArray[np.int64]
CODES = 3  # so few that guesses often come true
LIMITS = st.one_of(st.none(), st.integers(1, 6))


class Case(NamedTuple):
    """A set of cells and how it is swept."""

    cells: Mask
    by_island: bool
    width: int | None
    limit: int | None


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A mask of any density, with any width and limit."""
    height, width = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    density = draw(st.sampled_from([0.1, 0.4, 0.8, 1.0]))
    cells = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).random((height, width)) < density
    return Case(cells, draw(st.booleans()), draw(LIMITS), draw(LIMITS))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=9))
@example([(1, 1), (2, 2)])
@example([(1, 0), (2, 2)])
def test_certain_equals_the_reference(pairs: list[tuple[int, int]]) -> None:
    """SWEEP-2: up to and with the first cell whose sample differs."""
    guesses, samples = np.array(pairs, dtype=np.int64).T
    count = certain(guesses, samples)
    assert count == reference.certain(torch.from_numpy(guesses), torch.from_numpy(samples))
    assert (guesses[: count - 1] == samples[: count - 1]).all()
    assert count == len(pairs) or guesses[count - 1] != samples[count - 1]


@given(cases(), st.integers(0, 2**32 - 1))
@example(Case(np.ones((4, 4), dtype=np.bool_), False, 3, None), 0)
@example(Case(np.zeros((2, 2), dtype=np.bool_), True, 1, 2), 0)
@settings(deadline=None, max_examples=200)
def test_sweeps_equal_the_references(case: Case, seed: int) -> None:
    """SWEEP-1 to SWEEP-4: what is sampled, whose guesses are fed and what is decided, sweep by sweep."""
    generator = np.random.default_rng(seed)
    ours, theirs = Sweeps(*case), reference.Sweeps(torch.from_numpy(case.cells), *case[1:])
    decided = np.zeros(case.cells.size, dtype=np.int64)
    made = 0
    while cells := ours.ready():
        assert cells == theirs.ready()
        unfed = set(np.flatnonzero(generator.random(case.cells.size) < 0.5).tolist())
        assert sorted(ours.guessed(unfed)) == sorted(theirs.guessed(unfed))
        guesses, samples = generator.integers(0, CODES, (2, len(cells)))
        now = ours.settle(cells, guesses, samples)
        assert now.tolist() == theirs.settle(cells, torch.from_numpy(guesses), torch.from_numpy(samples)).tolist()
        decided[np.array(cells)[now]] += 1
        made += 1
    event("one sweep" if made == 1 else "several sweeps")
    assert theirs.ready() == []
    assert decided.tolist() == case.cells.ravel().astype(int).tolist(), "every cell of the set is decided once"
    assert case.limit is None or made <= case.limit


@pytest.mark.parametrize("kind", ["above", "left", "opening"])
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=50)
def test_first_guesses_equal_the_reference(kind: str, height: int, width: int, seed: int) -> None:
    """SWEEP-5: of the cells that have no token, from tokens and guesses that stand before them."""
    generator = np.random.default_rng(seed)
    grid = generator.integers(0, CODES, height * width)
    grid[generator.integers(0, len(grid)) :] = -1
    bare = np.flatnonzero(grid < 0).tolist()
    guesses = first_guesses(kind, grid, width, bare, lambda cells: 100 + np.array(cells))

    def opening(cells: Sequence[int]) -> torch.Tensor:
        return 100 + torch.tensor(list(cells))

    expected = reference.first_guesses(kind, torch.from_numpy(grid), width, bare, opening)
    assert guesses.tolist() == expected.tolist()
    assert (grid[bare] == -1).all(), "the grid stays as it is"


@pytest.mark.parametrize(
    ("order", "named", "width"),
    [
        (Order(), {}, 9),
        (Order(), {"sweep_width": 4}, 4),
        (Order(), {"sweep_width": None}, None),
        (DRAFT, {"draft_by": "sweeps"}, 9),
        (DRAFT, {"draft_by": "sweeps", "draft_sweeps": 2}, None),
        (ISLANDS, {"resample_by": "sweeps"}, None),
        (ISLANDS, {"resample_by": "sweeps", "islands": False}, 9),
        (ISLANDS, {"resample_by": "sweeps", "islands": False, "sweeps": 3}, None),
        (ISLANDS, {"resample_by": "sweeps", "sweep_width": 5, "sweeps": 3}, 5),
    ],
)
def test_an_automatic_width_is_the_machines_only_where_it_changes_no_image(
    order: Order, named: dict[str, object], width: int | None
) -> None:
    """SWEEP-6: with islands or a limit it is all cells, on every machine."""
    made = schedule_of(np.ones((2, 8), dtype=np.bool_), order, Settings().changed(**named), auto_width=9)
    assert isinstance(made, Sweeps)
    assert made.width == width


def test_windows_stay_windows() -> None:
    cells = np.ones((2, 8), dtype=np.bool_)
    assert isinstance(schedule_of(cells, DRAFT, Settings(), 9), Schedule)
    assert isinstance(schedule_of(cells, Order(window="window"), Settings(draft_by="sweeps"), 9), Schedule)
