"""The grammar: its canonical wordings round-trip, and whatever it refuses it refuses in one helpful line."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulo_sd.engines.prompts.grammar import MAX_PROMPT_CHARACTERS, Prompt, PromptObject, parse
from mulo_sd.engines.prompts.vocabulary import COLOURS, COUNTS, PLURALS, RELATIONS, SHAPES, Colour, Shape
from mulo_sd.engines.text import PromptError

shapes = st.sampled_from(SHAPES)
objects = st.builds(PromptObject, shapes, st.none() | st.sampled_from(COLOURS))
kinds = {
    "single": st.builds(lambda item: Prompt((item,)), objects),
    "counted": st.builds(
        lambda item, count: Prompt((item,) * count), objects, st.sampled_from(sorted(COUNTS.values()))
    ),
    "pair": st.builds(lambda first, second: Prompt((first, second)), objects, objects),
    "related": st.builds(
        lambda first, second, relation: Prompt((first, second), relation), objects, objects, st.sampled_from(RELATIONS)
    ),
}
KNOWN = sorted({"a", "an", "one", "to", "the", "of", "and", "left", "right", "above", "below"})
KNOWN += [*COUNTS, *COLOURS, *SHAPES, *PLURALS]


def refusal(text: str) -> str:
    """Return the message with which `text` is refused, after checking that it is one line."""
    with pytest.raises(PromptError) as caught:
        parse(text)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.isprintable()
    return message


@pytest.mark.parametrize("kind", kinds)
@settings(deadline=None)
@given(data=st.data())
def test_canonical_wording_round_trips(kind: str, data: st.DataObject) -> None:
    prompt = data.draw(kinds[kind])
    assert parse(prompt.text) == prompt


@settings(deadline=None)
@given(st.one_of(list(kinds.values())))
def test_case_punctuation_and_spaces_do_not_matter(prompt: Prompt) -> None:
    assert parse("  " + prompt.text.upper().replace(" ", " \t") + "!. ") == prompt


@pytest.mark.parametrize(
    ("text", "task", "canonical"),
    [
        ("one star", "single_object", "a star"),
        ("an orange cross.", "colors", "an orange cross"),
        ("A STAR AND A STAR", "counting", "two stars"),
        ("four pink crosses", "counting", "four pink crosses"),
        ("a star, and a circle", "two_object", "a star and a circle"),
        ("a star and a red star", "color_attr", "a star and a red star"),
        ("a star to the left of a star", "position", "a star left of a star"),
        ("one red circle to the right of an orange square", "position", "a red circle right of an orange square"),
        ("a star above a diamond", "position", "a star above a diamond"),
    ],
)
def test_every_wording_has_one_task_and_one_canonical_form(text: str, task: str, canonical: str) -> None:
    prompt = parse(text)
    assert (prompt.task, prompt.text) == (task, canonical)


@pytest.mark.parametrize(
    ("text", "named"), [("a star\x00", "U+0000 as character 7"), ("a \ud800 star", "U+D800 as character 3")]
)
def test_what_is_no_text_is_named_with_its_place(text: str, named: str) -> None:
    assert named in refusal(text)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a hexagon", "'hexagon'"),
        ("five stars", "'five'"),
        ("a turquoise star", "'turquoise'"),
        ("a star behind a circle", "'behind'"),
        ("ein roter Kreis", "'ein'"),
        ("a st\u00e4r", "'st\u00e4r'"),
        ("a \u661f", "'\u661f'"),
        ("a \U0001f534 circle", "'\U0001f534'"),
        ("a \u202estar", r"'\u202estar'"),
        ("a star\u200b", r"'star\u200b'"),
        ("a c\u0456rcle", "'c\u0456rcle'"),  # a Cyrillic letter among Latin ones
        ("a star; rm -rf", "'star;'"),
    ],
)
def test_unknown_word_is_named_with_what_is_understood(text: str, named: str) -> None:
    message = refusal(text)
    assert f"unknown word {named}" in message
    for understood in (*COUNTS, *COLOURS, *SHAPES, "left of", "above"):
        assert understood in message


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a", "one shape (circle, square, triangle, star, diamond, cross), got the end"),
        ("red circle", "'a', 'an' or a count, got 'red'"),
        ("a red", "one shape (circle, square, triangle, star, diamond, cross), got the end"),
        ("a red blue circle", "one shape (circle, square, triangle, star, diamond, cross), got 'blue'"),
        ("a stars", "one shape (circle, square, triangle, star, diamond, cross), got 'stars'"),
        ("two star", "a plural shape (circles, squares, triangles, stars, diamonds, crosses), got 'star'"),
        ("two red", "a plural shape (circles, squares, triangles, stars, diamonds, crosses), got the end"),
        ("a star circle", "'and', 'left of', 'right of', 'above' or 'below', got 'circle'"),
        ("a star left a circle", "'of' after 'left', got 'a'"),
        ("a star to left of a circle", "'the' after 'to', got 'left'"),
        ("a star and", "'a', 'an' or a count, got the end"),
        ("a star and two circles", "'a', 'an' or a count, got 'two'"),
        ("three stars and a circle", "the end, got 'and'"),
        ("a star and a circle and a square", "the end, got 'and'"),
        ("a star above a circle left of a square", "the end, got 'left'"),
    ],
)
def test_impossible_prompt_tells_what_was_expected_and_what_came(text: str, named: str) -> None:
    message = refusal(text)
    assert f"expected {named}" in message
    assert '"a red circle left of a blue square"' in message


@pytest.mark.parametrize("text", ["", " ", "\n\t", "...", "!", ",,,", "\u2003"])
def test_empty_prompt_is_refused_with_examples(text: str) -> None:
    message = refusal(text)
    assert "it is empty" in message
    assert '"three green stars"' in message


def test_too_long_prompt_is_refused_with_the_limit() -> None:
    message = refusal("a star " + "and a star " * 10_000)
    assert f"at most {MAX_PROMPT_CHARACTERS} characters" in message
    assert len(message) < 200


def test_long_unknown_word_is_shortened() -> None:
    assert len(refusal("a " + "x" * 190)) < 400


@settings(deadline=None)
@given(st.text(max_size=MAX_PROMPT_CHARACTERS + 1) | st.lists(st.sampled_from(KNOWN), max_size=10).map(" ".join))
def test_any_text_is_understood_or_refused_in_one_line(text: str) -> None:
    try:
        prompt = parse(text)
    except PromptError:
        refusal(text)
    else:
        assert parse(prompt.text) == prompt


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("colour", COLOURS)
def test_article_fits_the_word_after_it(shape: Shape, colour: Colour) -> None:
    assert PromptObject(shape, colour).text.startswith("an o" if colour == "orange" else f"a {colour[0]}")
