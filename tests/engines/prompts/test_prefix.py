"""The prefix: it tells apart every prompt and every plan, and what it leaves empty is padding."""

from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mulo_sd.engines.prompts.grammar import Prompt, PromptObject, parse
from mulo_sd.engines.prompts.plan import Plan
from mulo_sd.engines.prompts.planner import make_plan
from mulo_sd.engines.prompts.prefix import (
    CAPTION_LENGTH,
    FIELDS,
    PREFIX_LENGTH,
    PREFIX_VOCABULARY,
    TOKEN_TO_ID,
    null_prefix,
    prefix_from_plan,
)
from mulo_sd.engines.prompts.vocabulary import COLOURS, COUNTS, RELATIONS, SHAPES, Colour

ID_TO_TOKEN = {index: key for key, index in TOKEN_TO_ID.items()}
PADDING, NULL = TOKEN_TO_ID["special", "padding"], TOKEN_TO_ID["special", "null"]
CHOICES: tuple[Colour | None, ...] = (None, *COLOURS)
OBJECTS = [PromptObject(shape, colour) for shape in SHAPES for colour in CHOICES]
PROMPTS = {Prompt((item,) * count) for item in OBJECTS for count in (1, *COUNTS.values())} | {
    Prompt(pair, relation) for pair in product(OBJECTS, OBJECTS) for relation in (None, *RELATIONS)
}


def plan_from_prefix(prefix: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Plan:
    """Read a plan back from the ids of its prefix."""
    rows = [row for row in prefix[CAPTION_LENGTH:].tolist() if row[0] != PADDING]
    items = [dict(ID_TO_TOKEN[identifier] for identifier in row) for row in rows]
    return Plan.model_validate({"objects": items})


@settings(deadline=None)
@given(st.sampled_from(sorted(prompt.text for prompt in PROMPTS)), st.integers(0, 2**32))
def test_plan_can_be_read_back_from_its_prefix(text: str, seed: int) -> None:
    """So distinct plans have distinct prefixes."""
    prompt = parse(text)
    plan = make_plan(prompt, seed)
    assert plan_from_prefix(prefix_from_plan(prompt, plan)) == plan


def test_every_prompt_of_the_grammar_has_a_caption_of_its_own() -> None:
    plan = make_plan(parse("a star"), 0)
    captions = {prefix_from_plan(prompt, plan)[:CAPTION_LENGTH].tobytes() for prompt in PROMPTS}
    assert len(captions) == len(PROMPTS) == 14742


def test_unused_places_hold_padding_and_unused_fields_nothing() -> None:
    prompt = parse("a star")
    prefix = prefix_from_plan(prompt, make_plan(prompt, 0))
    assert prefix.shape == (PREFIX_LENGTH, FIELDS)
    assert prefix.dtype == np.int64
    words = [ID_TO_TOKEN[identifier] for identifier in prefix[:CAPTION_LENGTH, 0].tolist()]
    assert words == [("word", "a"), ("word", "star")] + [("special", "padding")] * 6
    assert (prefix[:CAPTION_LENGTH, 1:] == 0).all()
    assert (prefix[CAPTION_LENGTH] > PADDING).all()
    assert (prefix[CAPTION_LENGTH + 1 :, 0] == PADDING).all()
    assert (prefix[CAPTION_LENGTH + 1 :, 1:] == 0).all()


def test_longest_prompt_fills_the_prefix_without_padding_its_plan() -> None:
    prompt = parse("four red stars")
    assert (prefix_from_plan(prompt, make_plan(prompt, 0))[CAPTION_LENGTH:] > PADDING).all()


def test_null_prefix_is_the_null_token_everywhere() -> None:
    prefix = null_prefix()
    assert prefix.shape == (PREFIX_LENGTH, FIELDS)
    assert (prefix[:, 0] == NULL).all()
    assert (prefix[:, 1:] == 0).all()


def test_ids_are_dense_and_start_with_the_special_ones() -> None:
    """The trained models hold one row for each id: a change here invalidates their weights."""
    assert sorted(TOKEN_TO_ID.values()) == list(range(PREFIX_VOCABULARY))
    assert PREFIX_VOCABULARY == 78
    assert [ID_TO_TOKEN[identifier] for identifier in range(4)] == [
        ("special", "none"),
        ("special", "null"),
        ("special", "padding"),
        ("word", "a"),
    ]
