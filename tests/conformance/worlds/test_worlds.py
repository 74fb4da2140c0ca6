"""Each world: its held-out prompts are the reference's, and its evaluator tells their scenes apart."""

from pathlib import Path

import numpy as np
import pytest

from mulo_sd.conformance.worlds.choice import NAMES, world_named
from mulo_sd.conformance.worlds.demo import DemoWorld
from mulo_sd.conformance.worlds.pictograms import PictogramsWorld
from mulo_sd.conformance.worlds.world import HeldOut, World, WorldError
from mulo_sd.engines.text import PromptError
from mulo_sd.reference.demo import scenes as demo_scenes
from mulo_sd.reference.pictograms import scenes as pictogram_scenes
from mulo_sd.reference.trained import load_trained, save_trained
from tests.trained_models import GRIDS, trained

PER_TASK = 4


@pytest.fixture(scope="module", params=NAMES)
def world(request: pytest.FixtureRequest) -> World:
    return world_named(request.param)


@pytest.fixture(scope="module")
def prompts(world: World) -> list[HeldOut]:
    return list(world.held_out(PER_TASK))


def test_the_demos_prompts_are_the_references() -> None:
    expected = list(demo_scenes.held_out_scenes(3, first=5))
    found = list(DemoWorld().held_out(3, first=5))
    assert [(item.text, item.plan) for item in found] == [(item.prompt.text, item.plan) for item in expected]
    assert all((a.render(32) == b.render(32)).all() for a, b in zip(found, expected, strict=True))


def test_the_pictograms_prompts_are_the_references() -> None:
    expected = list(pictogram_scenes.held_out_scenes(3, first=5))
    found = list(PictogramsWorld().held_out(3, first=5))
    assert [(item.text, item.plan) for item in found] == [(item.caption, None) for item in expected]
    assert all((a.render(64) == b.render(64)).all() for a, b in zip(found, expected, strict=True))


def test_prompts_come_task_by_task_with_seeds_of_their_own(world: World, prompts: list[HeldOut]) -> None:
    assert [item.task for item in prompts] == [task for task in world.tasks for _ in range(PER_TASK)]
    assert [(item.task_number, item.index) for item in prompts] == [
        (number, index) for number in range(len(world.tasks)) for index in range(PER_TASK)
    ]
    assert [item.seed for item in prompts[:PER_TASK]] == list(range(PER_TASK))
    assert len({item.seed for item in world.held_out(PER_TASK)}) == len(prompts)
    assert world.held_out_prompt(2, 3).text == prompts[2 * PER_TASK + 3].text


def test_a_real_scene_shows_its_own_prompt_and_no_other(world: World, prompts: list[HeldOut]) -> None:
    images = [item.render(128) for item in prompts]
    assert all(world.holds(item.text, image) for item, image in zip(prompts, images, strict=True))
    # Prompts of the demo may hold by chance ("a star" of "a red star"); those of another task with more objects do not.
    alone, several = images[0], prompts[world.tasks.index("counting") * PER_TASK]
    assert not world.holds(several.text, alone)
    assert not world.holds(prompts[0].text, np.full((128, 128, 3), 200, dtype=np.uint8))


def test_an_example_is_a_prompt(world: World) -> None:
    world.check(world.example)
    with pytest.raises(PromptError):
        world.check("nothing of the kind")
    with pytest.raises(PromptError):
        world.holds("nothing of the kind", np.zeros((128, 128, 3), dtype=np.uint8))


def test_a_picture_of_another_size_is_refused_in_a_line() -> None:
    with pytest.raises(WorldError, match="expected 128, 64 or 32 pixels a side"):
        PictogramsWorld().holds("two keys", np.zeros((100, 100, 3), dtype=np.uint8))


def test_the_pictograms_models_are_those_of_their_folder(tmp_path: Path) -> None:
    save_trained(trained(), tmp_path / "tiny")
    read = PictogramsWorld(lambda: load_trained(tmp_path / "tiny")).models()
    assert [item.config.grid_height for item in (read.target, *read.drafters)] == [height for height, _ in GRIDS]
    with pytest.raises(WorldError, match="expected a folder of trained models, found none"):
        PictogramsWorld(lambda: load_trained(tmp_path / "none")).models()
