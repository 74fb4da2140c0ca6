"""The demo's scenes as examples: what asks for them, and which cells their captions speak of."""

import numpy as np
import pytest

from mulo_sd.engines.prompts.prefix import null_prefix, prefix_from_plan
from mulo_sd.reference.demo.evaluate import MIN_CHROMA
from mulo_sd.reference.demo.examples import DemoExamples
from mulo_sd.reference.demo.scenes import HELD_OUT_SPLIT, scene


@pytest.mark.parametrize("index", [0, 7, 1 << 40])
def test_an_example_is_a_scene_of_its_split(index: int) -> None:
    examples = DemoExamples()
    for example, expected in (
        (examples.training(index), scene(index)),
        (examples.held_out(index), scene(index, HELD_OUT_SPLIT)),
    ):
        assert example.scene == expected
        assert np.array_equal(example.render(32), expected.render(32))
        assert np.array_equal(example.condition(), prefix_from_plan(expected.prompt, expected.plan))
        assert example.condition().shape[0] == examples.prefix_length
        assert example.condition().max() < examples.prefix_vocabulary
    assert np.array_equal(examples.null_condition(), null_prefix())


@pytest.mark.parametrize("side", [8, 16, 32])
def test_the_focus_holds_every_object_and_not_the_whole_picture(side: int) -> None:
    shares = []
    for index in range(20):
        example = DemoExamples().training(index)
        focus = example.focus(side)
        pixels = example.render(side * 4).astype(np.int16)
        coloured = (pixels.max(-1) - pixels.min(-1) >= MIN_CHROMA).reshape(side, 4, side, 4).any(axis=(1, 3))
        assert focus.shape == (side, side)
        assert not (coloured & ~focus).any()
        shares.append(focus.mean())
    assert 0.05 < np.mean(shares) < 0.6
