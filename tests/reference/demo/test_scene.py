"""Rendering: repeatable, and the same scene at every size."""

import numpy as np
import pytest
from numpy.typing import NDArray

from mulo_sd.engines.prompts.plan import Plan, PlannedObject
from mulo_sd.engines.prompts.vocabulary import COLOURS, SHAPES, Colour, Shape
from mulo_sd.reference.demo.scene import COLOUR_TO_RGB, OUTLINE_RGB, Background, draw_background, render
from mulo_sd.reference.demo.scenes import Scene, held_out_scenes, scene

SCENES = [*held_out_scenes(5), *(scene(index) for index in range(10))]
PLAIN = Background((220.0, 220.0, 220.0), (220.0, 220.0, 220.0), 0.0, (0.0, 0.0, 0.0))


def halved(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the means of 2 x 2 pixels."""
    side = len(pixels) // 2
    return np.asarray(pixels.reshape(side, 2, side, 2, 3).mean(axis=(1, 3)))


@pytest.mark.parametrize("size", [32, 64, 128])
def test_same_scene_gives_the_same_pixels(size: int) -> None:
    for item in SCENES[:6]:
        first = item.render(size)
        assert first.shape == (size, size, 3)
        assert first.dtype == np.uint8
        np.testing.assert_array_equal(first, item.render(size))


@pytest.mark.parametrize("item", SCENES, ids=lambda item: item.prompt.text)
@pytest.mark.parametrize("size", [128, 64])
def test_scene_looks_the_same_at_half_the_size(item: Scene, size: int) -> None:
    """Only anti-aliased edges differ, by what half a pixel's coverage makes."""
    difference = np.abs(halved(item.render(size)) - item.render(size // 2)).max(axis=-1)
    assert difference.mean() < 2.0
    assert (difference > 8).mean() < 0.12
    assert difference.max() < 100


def test_the_comparison_of_sizes_would_notice_another_scene() -> None:
    one, other = SCENES[0], SCENES[1]
    difference = np.abs(halved(one.render(128)) - other.render(64)).max(axis=-1)
    assert difference.mean() > 4.0


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("shape", SHAPES)
def test_object_is_filled_with_its_colour_and_outlined(shape: Shape, colour: Colour) -> None:
    item = PlannedObject(shape=shape, colour=colour, x=8, y=8, size=3)
    pixels = render(Plan(objects=(item,)), PLAIN, 128)
    x, y = (int(middle * 128) for middle in item.centre)
    assert tuple(pixels[y, x].tolist()) == COLOUR_TO_RGB[colour]
    assert tuple(pixels[0, 0].tolist()) == (220, 220, 220)
    assert (pixels == OUTLINE_RGB).all(axis=-1).any()


def test_object_at_the_border_is_cut_off_not_wrapped() -> None:
    item = PlannedObject(shape="square", colour="red", x=0, y=15, size=5)
    pixels = render(Plan(objects=(item,)), PLAIN, 64)
    assert tuple(pixels[60, 2].tolist()) == COLOUR_TO_RGB["red"]
    assert (pixels[:32] == 220).all()
    assert (pixels[:, 32:] == 220).all()


def test_backgrounds_are_light_and_of_little_chroma() -> None:
    """The evaluator tells objects from the background by their chroma and darkness."""
    rng = np.random.default_rng(0)
    for _ in range(100):
        pixels = draw_background(rng).render(32)
        assert pixels.min() > 170
        assert (pixels.max(axis=-1) - pixels.min(axis=-1)).max() < 40
