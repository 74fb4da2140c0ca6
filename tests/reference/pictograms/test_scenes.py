"""The pictograms' scenes: always the same ones, where their captions say, and combinations that training never sees."""

import numpy as np
import pytest

from mulo_sd.reference.pictograms.captions import TASKS, Task, Wish
from mulo_sd.reference.pictograms.grounds import GROUND_COLOURS, GROUND_TO_RGB, JITTER
from mulo_sd.reference.pictograms.scenes import (
    BOX,
    HELD_OUT_SHARE,
    HELD_OUT_SPLIT,
    PIXELS,
    TRAINING_SPLIT,
    Placed,
    Scene,
    held_out_scenes,
    is_held_out,
    scene,
)
from mulo_sd.reference.pictograms.sheet import pictograms

SCENES = 200  # a task


def combination(wish: Wish) -> tuple[tuple[int, ...], str | None]:
    return tuple(sorted(wish.objects)), wish.ground


def test_a_scene_depends_on_its_number_and_split_only() -> None:
    assert [scene(index) for index in range(20)] == [scene(index) for index in range(20)]
    assert scene(7) != scene(8)
    assert scene(7, TRAINING_SPLIT) != scene(7, HELD_OUT_SPLIT)
    assert np.array_equal(scene(7).render(128), scene(7).render(128))


def test_training_never_uses_a_held_out_combination() -> None:
    """Not in another order, nor with another relation."""
    trained = [scene(index).wish for index in range(10_000)]
    assert {wish.task for wish in trained} == set(TASKS)
    assert not any(is_held_out(wish) for wish in trained)
    held_out = [item.wish for item in held_out_scenes(SCENES) if item.wish.task != "single_object"]
    assert all(is_held_out(wish) for wish in held_out)
    assert not {combination(wish) for wish in trained} & {combination(wish) for wish in held_out}


def test_about_one_combination_in_eight_is_held_out() -> None:
    """Of pairs, in both orders; of counts and grounds as well."""
    pairs = [Wish((first, second)) for first in range(300) for second in range(first)]
    assert np.mean([is_held_out(wish) for wish in pairs]) == pytest.approx(1 / HELD_OUT_SHARE, abs=0.01)
    assert all(is_held_out(wish) == is_held_out(Wish(wish.objects[::-1], "above")) for wish in pairs[::50])
    counts = [Wish((index,) * count) for index in range(300) for count in (2, 3)]
    assert np.mean([is_held_out(wish) for wish in counts]) == pytest.approx(1 / HELD_OUT_SHARE, abs=0.04)
    grounds = [Wish((index,), ground=ground) for index in range(300) for ground in GROUND_COLOURS]
    assert np.mean([is_held_out(wish) for wish in grounds]) == pytest.approx(1 / HELD_OUT_SHARE, abs=0.03)


def test_every_single_pictogram_is_trained_on() -> None:
    assert not any(is_held_out(Wish((index,))) for index in range(len(pictograms())))


@pytest.mark.parametrize("size", [64, 32])
def test_the_same_scene_at_every_size(size: int) -> None:
    for index in range(20):
        item = scene(index)
        ratio = PIXELS // size
        large = item.render(PIXELS).astype(np.float64).reshape(size, ratio, size, ratio, 3).mean(axis=(1, 3))
        small = item.render(size)
        assert small.dtype == np.uint8
        assert np.abs(small - large).max() <= 2  # both are rounded, and clipped where a filter overshot


def centre(item: Placed) -> tuple[float, float]:
    return item.left + BOX / 2, item.top + BOX / 2


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("split", [TRAINING_SPLIT, HELD_OUT_SPLIT])
def test_what_a_caption_asks_for_is_in_the_scene(task: Task, split: int) -> None:
    for index in range(SCENES):
        item = scene(index, split, task)
        assert item.wish.task == task
        assert tuple(placed.pictogram for placed in item.placed) == item.wish.objects
        assert item.wish.ground in (None, item.ground.colour)
        assert np.abs(np.array(item.ground.rgb) - GROUND_TO_RGB[item.ground.colour]).max() <= JITTER


@pytest.mark.parametrize("task", TASKS)
def test_pictograms_lie_in_the_picture_and_beside_each_other(task: Task) -> None:
    for index in range(SCENES):
        cover = np.zeros((PIXELS, PIXELS), dtype=np.int64)
        for item in scene(index, TRAINING_SPLIT, task).placed:
            assert min(item.left, item.top) >= 0
            assert max(item.left, item.top) + BOX <= PIXELS
            cover[item.top : item.top + BOX, item.left : item.left + BOX] += 1
        assert cover.max() == 1


def test_relations_hold_by_where_pictograms_lie() -> None:
    """The first is on its side of the second by half the picture, and hardly beside that line."""
    seen = set()
    for index in range(SCENES):
        item = scene(index, TRAINING_SPLIT, "position")
        (x, y), (other_x, other_y) = (centre(placed) for placed in item.placed)
        across, down = other_x - x, other_y - y
        ahead = {"left of": across, "right of": -across, "above": down, "below": -down}
        relation = item.wish.relation
        assert relation is not None
        assert ahead[relation] >= PIXELS / 2
        assert sorted(map(abs, (across, down)))[0] <= PIXELS / 8
        seen.add(relation)
    assert len(seen) == 4


@pytest.mark.parametrize("task", ["two_object", "counting"])
def test_what_a_caption_says_nothing_of_stands_in_reading_order(task: Task) -> None:
    """What is named first is drawn first; a count alone decides where they stand, but for one column."""
    layouts: dict[int, set[tuple[int, ...]]] = {}
    for index in range(SCENES):
        placed = scene(index, TRAINING_SPLIT, task).placed
        places = [(item.top, item.left) for item in placed]
        assert places == sorted(places)
        layouts.setdefault(len(placed), set()).add(tuple(item.top for item in placed))
    assert {count: len(rows) for count, rows in layouts.items()} == ({2: 2} if task == "two_object" else {2: 1, 3: 1})


def test_a_scene_shows_its_pictograms_alone() -> None:
    """Beside the boxes a picture is its ground."""
    for index in range(20):
        item = scene(index)
        bare = Scene(item.wish, (), item.ground).render(PIXELS)
        differs = (item.render(PIXELS) != bare).any(axis=-1)
        for placed in item.placed:
            box = differs[placed.top : placed.top + BOX, placed.left : placed.left + BOX]
            assert box.any()
            box[:] = False
        assert not differs.any()


def test_tasks_ask_for_pictograms_of_their_own() -> None:
    """Else two prompts of a study that differ in their task alone would be nearly one."""
    pairs, placed = (
        {item.wish.objects for item in held_out_scenes(40) if item.wish.task == task} for task in TASKS[1::3]
    )
    assert len(pairs & placed) < 3


def test_held_out_scenes_come_task_by_task_and_can_start_anywhere() -> None:
    scenes = list(held_out_scenes(3))
    assert [item.wish.task for item in scenes] == [task for task in TASKS for _ in range(3)]
    assert list(held_out_scenes(1, first=2)) == scenes[2::3]
