"""Captions of pictograms: they say what is asked for, and are understood again."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulo_sd.reference.pictograms.captions import RELATIONS, CaptionError, Wish, is_plural, parse, plural, with_article
from mulo_sd.reference.pictograms.grounds import GROUND_COLOURS
from mulo_sd.reference.pictograms.sheet import pictograms

ALL = range(len(pictograms()))
COUNTED = [index for index in ALL if not is_plural(pictograms()[index].name)]
indices = st.sampled_from(ALL)
pairs = st.tuples(indices, indices).filter(lambda pair: pair[0] != pair[1])
wishes = st.one_of(
    st.builds(lambda index: Wish((index,)), indices),
    st.builds(lambda index, ground: Wish((index,), ground=ground), indices, st.sampled_from(GROUND_COLOURS)),
    st.builds(lambda index, count: Wish((index,) * count), st.sampled_from(COUNTED), st.sampled_from((2, 3))),
    st.builds(Wish, pairs),
    st.builds(Wish, pairs, st.sampled_from(RELATIONS)),
)


def index_of(name: str) -> int:
    return next(item.index for item in pictograms() if item.name == name)


@given(wishes)
def test_a_caption_is_understood_as_it_was_meant(wish: Wish) -> None:
    assert parse(wish.caption) == wish


@given(wishes)
def test_case_and_spaces_do_not_count(wish: Wish) -> None:
    assert parse(f"  {wish.caption.upper().replace(' ', '   ')}\n") == wish


def test_every_single_caption_is_understood() -> None:
    for index in ALL:
        assert parse(Wish((index,)).caption) == Wish((index,))
    for index in COUNTED:
        assert parse(Wish((index, index)).caption) == Wish((index, index))


@pytest.mark.parametrize(
    ("wish", "caption", "task"),
    [
        (Wish((index_of("red apple"),)), "a red apple", "single_object"),
        (Wish((index_of("owl"),)), "an owl", "single_object"),
        (Wish((index_of("cherries"),)), "cherries", "single_object"),
        (Wish((index_of("key"),) * 2), "two keys", "counting"),
        (Wish((index_of("cat face"),) * 3), "three cat faces", "counting"),
        (Wish((index_of("rocket"),), ground="orange"), "a rocket on an orange ground", "colors"),
        (Wish((index_of("pizza"), index_of("owl"))), "a pizza and an owl", "two_object"),
        (Wish((index_of("owl"), index_of("key")), "left of"), "an owl left of a key", "position"),
    ],
)
def test_words_and_task(wish: Wish, caption: str, task: str) -> None:
    assert (wish.caption, wish.task) == (caption, task)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cherry", "cherries"),
        ("key", "keys"),
        ("fox", "foxes"),
        ("paint brush", "paint brushes"),
        ("compass", "compasses"),
        ("tropical fish", "tropical fish"),
        ("maple leaf", "maple leaves"),
        ("bus", "buses"),
    ],
)
def test_plurals(name: str, expected: str) -> None:
    assert plural(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"), [("owl", "an owl"), ("key", "a key"), ("cherries", "cherries"), ("compass", "a compass")]
)
def test_articles(name: str, expected: str) -> None:
    assert with_article(name) == expected


def test_the_words_are_those_that_the_models_learned() -> None:
    """Another article or plural is another caption than those of which the shipped models know."""
    words = "\n".join(f"{with_article(item.name)}, {plural(item.name)}" for item in pictograms())
    assert (
        hashlib.sha256(words.encode()).hexdigest() == "2472a3af7f2f5fb4d360b0bd00a817be14ab258fa71a51c57b88c49c24bb8cd9"
    )


@pytest.mark.parametrize(
    "caption",
    [
        "",
        "a dinosaur from outer space",
        "key",
        "an key",
        "a key and a key",
        "four keys",
        "two cherrieses",
        "two keys on a blue ground",
        "a key left of an owl on a blue ground",
        "a key on a brown ground",
        "a key left of",
        "a key left of an owl and a pizza",
        "a key \x00",
        "two keys " * 10_000,
    ],
)
def test_what_is_no_caption_is_told_in_a_line(caption: str) -> None:
    with pytest.raises(CaptionError) as caught:
        parse(caption)
    message = str(caught.value)
    assert message.startswith("caption: expected pictograms such as 'a red apple left of an owl'")
    assert "\n" not in message
    assert len(message) < 250
    assert message.endswith(f"got {caption[:80]!r}")
