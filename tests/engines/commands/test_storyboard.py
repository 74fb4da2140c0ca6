"""The storyboard: every resampled cell has its step, and a decode its panels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mulo_sd import engines
from mulo_sd.engines.commands.storyboard import (
    GAP,
    PANEL_PIXELS,
    SHOWN_SHARES,
    draw_storyboard,
    passes_of_cells,
    steps_of_cells,
    sweeps_of_cells,
)


@pytest.mark.parametrize(("drafters", "panels"), [((1,), 5), ((1, 2), 9)])
def test_steps_and_panels(demo_bundle: Path, drafters: tuple[int, ...], panels: int) -> None:
    """The steps are the target's passes but for prefill and verification, whose own distributions give the first."""
    pipeline = engines.load(demo_bundle, threads=1)
    result = pipeline.generate("a red circle", seed=1, mode="parallel", drafters=drafters)
    steps = steps_of_cells(result.trace, 0, result.tokens.shape)
    (cycle,) = result.trace.cycles_of(0)
    assert ((steps > 0) == cycle.resampled).all()
    assert set(steps[cycle.resampled].tolist()) == set(range(1, result.stats.nfe_target))
    picture = draw_storyboard(result.trace, result.tokens, pipeline.image_from_tokens)
    assert picture.width == panels * (PANEL_PIXELS + GAP) - GAP


def test_sweeps_of_a_whole_grid(minimal_bundle: Path) -> None:
    """Every cell was decided by one of them, in raster order; the picture shows some of them on the way."""
    pipeline = engines.load(minimal_bundle, threads=1)
    result = pipeline.generate("a red circle", seed=1, mode="ar", sweep_width=4)
    numbers = sweeps_of_cells(result.trace, result.tokens.shape).ravel()
    assert numbers.tolist() == sorted(numbers.tolist())
    assert set(numbers.tolist()) == set(range(1, result.stats.sweeps + 1))
    assert 1 < result.stats.sweeps < numbers.size
    picture = draw_storyboard(result.trace, result.tokens, pipeline.image_from_tokens)
    assert picture.width == (len(SHOWN_SHARES) + 2) * (PANEL_PIXELS + GAP) - GAP


@pytest.mark.parametrize("mode", ["zipar", "sjd", "pjd", "eagle", "eagle-tree", "specdec"])
def test_what_the_target_decides_alone(minimal_bundle: Path, mode: engines.Mode) -> None:
    """Every cell was decided by one pass; the picture shows which, beside the result."""
    pipeline = engines.load(minimal_bundle, threads=1)
    result = pipeline.generate("a red circle", seed=1, mode=mode)
    numbers = passes_of_cells(result.trace, result.tokens.shape)
    assert numbers.min() == numbers.flat[0] == 1
    assert numbers.max() <= result.stats.nfe_target
    picture = draw_storyboard(result.trace, result.tokens, pipeline.image_from_tokens)
    assert picture.width == 2 * (PANEL_PIXELS + GAP) - GAP


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": "exact", "drafters": (1,)},
        {"mode": "parallel", "drafters": (1, 2), "resample_by": "sweeps", "tau": 0.5},
        {"mode": "serial", "drafters": (1,), "draft_by": "sweeps", "tau": 0.5},
    ],
)
def test_a_cell_that_sweeps_resampled_has_the_step_that_decided_it(
    changes: dict[str, Any], minimal_bundle: Path
) -> None:
    """Not the one that sampled it first."""
    pipeline = engines.load(minimal_bundle, threads=1)
    result = pipeline.generate("a red circle", seed=1, sweep_width=4, **changes)
    steps = steps_of_cells(result.trace, 0, result.tokens.shape)
    decided = sweeps_of_cells(result.trace, result.tokens.shape)
    for cycle in result.trace.cycles_of(0):
        rows = slice(cycle.first_row, cycle.last_row)
        assert cycle.resampled.any()
        assert ((steps[rows] > 0) == cycle.resampled).all()
        assert (decided[rows][cycle.resampled] > 0).all()
        order = decided[rows][cycle.resampled].argsort(kind="stable")
        assert (np.diff(steps[rows][cycle.resampled][order]) >= 0).all()
    assert draw_storyboard(result.trace, result.tokens, pipeline.image_from_tokens).width > 4 * PANEL_PIXELS
