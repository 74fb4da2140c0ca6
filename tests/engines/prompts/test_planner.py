"""The planner: repeatable, faithful to the prompt, and nothing overlaps."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulo_sd.engines.prompts.grammar import parse
from mulo_sd.engines.prompts.plan import PlannedObject, check_plan, relation_holds
from mulo_sd.engines.prompts.planner import BORDER, RELATION_MARGIN, SIZE_RANGES, make_plan
from mulo_sd.engines.prompts.vocabulary import COLOURS
from mulo_sd.reference.demo.scene import signed_distance

PROMPTS = (
    "a star",
    "a red diamond",
    "two diamonds",
    "two green triangles",
    "three stars",
    "three pink crosses",
    "four squares",
    "four blue circles",
    "a star and a diamond",
    "a red star and an orange star",
    "a circle left of a triangle",
    "a diamond right of a pink diamond",
    "a diamond above a star",
    "a blue cross below a cross",
)
SEEDS = st.integers(0, 2**64 - 1)
pixels = (np.arange(128) + 0.5) / 128
X, Y = np.meshgrid(pixels, pixels)

each_prompt = pytest.mark.parametrize("text", PROMPTS)


def covered(item: PlannedObject) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Return which pixels' centres an object covers at 128 pixels a side."""
    x, y = item.centre
    return signed_distance(item.shape, X - x, Y - y, item.radius) < 0


@each_prompt
def test_same_seed_gives_the_same_plan_and_another_seed_another(text: str) -> None:
    prompt = parse(text)
    plans = [make_plan(prompt, seed) for seed in range(20)]
    assert plans == [make_plan(prompt, seed) for seed in range(20)]
    assert len({plan.model_dump_json() for plan in plans}) > 15


@each_prompt
@settings(deadline=None, max_examples=30)
@given(seed=SEEDS)
def test_plan_fits_its_prompt(text: str, seed: int) -> None:
    """Counts, shapes, colours and relation are what the prompt asks for."""
    prompt = parse(text)
    plan = make_plan(prompt, seed)
    check_plan(plan, prompt)
    if prompt.relation is not None:
        first, second = (item.centre for item in plan.objects)
        assert relation_holds(prompt.relation, first, second, RELATION_MARGIN)


@each_prompt
@settings(deadline=None, max_examples=15)
@given(seed=SEEDS)
def test_no_pixel_is_covered_twice(text: str, seed: int) -> None:
    masks = [covered(item) for item in make_plan(parse(text), seed).objects]
    assert all(mask.any() for mask in masks)
    for one, other in combinations(masks, 2):
        assert not (one & other).any()


@each_prompt
@settings(deadline=None, max_examples=30)
@given(seed=SEEDS)
def test_sizes_suit_the_count_and_objects_lie_inside_the_border(text: str, seed: int) -> None:
    objects = make_plan(parse(text), seed).objects
    low, high = SIZE_RANGES[len(objects)]
    for item in objects:
        assert low <= item.size <= high
        for middle in item.centre:
            assert item.radius + BORDER <= middle <= 1 - item.radius - BORDER


def test_counted_objects_share_a_colour_that_the_prompt_leaves_open() -> None:
    plans = [make_plan(parse("three stars"), seed) for seed in range(60)]
    colours = [{item.colour for item in plan.objects} for plan in plans]
    assert all(len(group) == 1 for group in colours)
    assert set().union(*colours) == set(COLOURS)


def test_two_named_objects_may_differ_in_a_colour_left_open() -> None:
    plans = [make_plan(parse("a star and a circle"), seed) for seed in range(20)]
    assert any(plan.objects[0].colour != plan.objects[1].colour for plan in plans)
