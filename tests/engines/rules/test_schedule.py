"""Schedules: the engines decide the same cells in the same steps as the reference."""

import numpy as np
import torch
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mulo_sd.engines.rules.schedule import Schedule
from mulo_sd.reference import schedule as reference

Mask = NDArray[np.bool_]
WINDOWS = st.one_of(st.none(), st.integers(1, 10))


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    """Bool[H, W], of any density."""
    height, width = draw(st.integers(1, 8)), draw(st.integers(1, 8))
    density = draw(st.sampled_from([0.1, 0.4, 0.8, 1.0]))
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1))).random((height, width)) < density


def steps(schedule: Schedule) -> list[list[int]]:
    """Decide everything that is ready until nothing is left."""
    listed = []
    while ready := schedule.ready():
        schedule.decide(ready)
        listed.append(ready)
    return listed


@given(masks(), WINDOWS, st.booleans())
@example(np.ones((3, 4), dtype=np.bool_), 2, False)
@example(np.zeros((2, 2), dtype=np.bool_), 1, True)
@settings(deadline=None, max_examples=300)
def test_steps_equal_the_references(cells: Mask, window: int | None, by_island: bool) -> None:
    """SCHED-1, SCHED-2: The same steps, each ascending."""
    actual = steps(Schedule(cells, window, by_island))
    expected = [step.tolist() for step in reference.steps(torch.from_numpy(cells), window, by_island)]
    event("one cell a step" if len(actual) == cells.sum() else "several cells a step")
    assert actual == expected


@given(masks(), WINDOWS, st.booleans(), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=200)
def test_cells_that_are_held_back_stay_ready(cells: Mask, window: int | None, by_island: bool, seed: int) -> None:
    """SCHED-5 decides some of the ready cells only: the others are ready again, as in the reference."""
    generator = np.random.default_rng(seed)
    ours = Schedule(cells, window, by_island)
    theirs = reference.Schedule(torch.from_numpy(cells), window, by_island)
    decided: list[int] = []
    while ready := ours.ready():
        assert ready == theirs.ready()
        some = [cell for cell in ready if generator.random() < 0.6] or ready[:1]
        ours.decide(some)
        theirs.decide(some)
        decided += some
        assert set(ready) - set(some) <= set(ours.ready())
    assert theirs.ready() == []
    assert sorted(decided) == np.flatnonzero(cells).tolist()
