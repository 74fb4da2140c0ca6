"""The split: held-out wordings are never trained on, and a scene's number is all that it depends on."""

from itertools import product

import pytest

from mulo_sd.engines.prompts.grammar import Prompt, PromptObject
from mulo_sd.engines.prompts.plan import check_plan
from mulo_sd.engines.prompts.vocabulary import COLOURS, SHAPES, TASKS, Task
from mulo_sd.reference.demo.scenes import (
    HELD_OUT_SHARE,
    HELD_OUT_SPLIT,
    HELD_OUT_TASKS,
    TRAINING_SPLIT,
    held_out_scenes,
    is_held_out,
    scene,
)

SCENES = 300  # a task


def test_scene_depends_on_its_number_and_split_only() -> None:
    assert [scene(index) for index in range(20)] == [scene(index) for index in range(20)]
    assert scene(7) != scene(8)
    assert scene(7, TRAINING_SPLIT) != scene(7, HELD_OUT_SPLIT)


@pytest.mark.parametrize("task", TASKS)
def test_scene_of_a_task_belongs_to_it_and_its_plan_fits(task: Task) -> None:
    for index in range(SCENES):
        item = scene(index, TRAINING_SPLIT, task)
        assert item.prompt.task == task
        check_plan(item.plan, item.prompt)


@pytest.mark.parametrize("task", HELD_OUT_TASKS)
def test_training_scenes_never_use_a_held_out_wording(task: Task) -> None:
    trained = {scene(index, TRAINING_SPLIT, task).prompt.text for index in range(SCENES)}
    held_out = {scene(index, HELD_OUT_SPLIT, task).prompt.text for index in range(SCENES)}
    assert trained
    assert held_out
    assert not trained & held_out


def test_mixed_training_stream_uses_no_held_out_wording() -> None:
    """The stream that training really draws from, whatever its task."""
    scenes = [scene(index) for index in range(1200)]
    assert {item.prompt.task for item in scenes} == set(TASKS)
    assert not [item.prompt.text for item in scenes if is_held_out(item.prompt)]


def test_about_one_wording_in_eight_is_held_out() -> None:
    objects = [PromptObject(shape, colour) for shape in SHAPES for colour in COLOURS]
    pairs = [Prompt(pair) for pair in product(objects, objects) if pair[0] != pair[1]]
    share = sum(is_held_out(prompt) for prompt in pairs) / len(pairs)
    assert share == pytest.approx(1 / HELD_OUT_SHARE, abs=0.03)


@pytest.mark.parametrize("task", [task for task in TASKS if task not in HELD_OUT_TASKS])
def test_small_tasks_hold_out_plans_only(task: Task) -> None:
    assert not any(is_held_out(scene(index, HELD_OUT_SPLIT, task).prompt) for index in range(50))


def test_held_out_scenes_come_task_by_task_and_can_start_anywhere() -> None:
    scenes = list(held_out_scenes(3))
    assert [item.prompt.task for item in scenes] == [task for task in TASKS for _ in range(3)]
    assert list(held_out_scenes(1, first=2)) == scenes[2::3]
