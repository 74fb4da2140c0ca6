"""The storyboard: every resampled cell has its step, and a decode its panels."""

from pathlib import Path

import pytest

from mulo_sd import engines
from mulo_sd.engines.commands.storyboard import GAP, PANEL_PIXELS, draw_storyboard, steps_of_cells


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
