"""Texts from outside: what can be drawn passes as it is, everything else is refused in one line that can be printed."""

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulo_sd.engines.prompts import PlanError, load_plan, parse
from mulo_sd.engines.text import PromptError, check_text, shows_nothing

HALF = json.loads('"a \\ud800 star"')
BYTES = b"a caf\xe9".decode("utf-8", "surrogateescape")  # what Python makes of a command line that is not UTF-8


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (HALF, "prompt: expected Unicode text, got half of a surrogate pair, U+D800 as character 3; write it in UTF-8"),
        (
            BYTES,
            "prompt: expected Unicode text, got half of a surrogate pair, U+DCE9 as character 6; write it in UTF-8",
        ),
        ("a\0star", "prompt: expected text without control characters, got U+0000 as character 2; leave it out"),
        ("\x1b[2J", "prompt: expected text without control characters, got U+001B as character 1; leave it out"),
        ("del\x7f", "prompt: expected text without control characters, got U+007F as character 4; leave it out"),
        ("", "prompt: it is empty; say what to draw"),
        (" \t\n\u2028\u00a0", "prompt: it is empty; say what to draw"),
        ("\u200b\ufeff\u00ad", "prompt: it is empty; say what to draw"),
        ("a" * 11, "prompt: expected at most 10 characters, got 11; shorten it"),
        (5, "prompt: expected text, got int"),
        (None, "prompt: expected text, got NoneType"),
        (b"a star", "prompt: expected text, got bytes"),
    ],
)
def test_what_cannot_be_drawn_is_told_in_one_line(text: object, told: str) -> None:
    with pytest.raises(PromptError) as error:
        check_text(text, max_characters=10)
    assert str(error.value) == told
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    "text", ["a star", "un café", "星", "\U0001f98a", "a\tb\r\nc\u2028d\x85e", "o\u0301\u200d", "it\x92s"]
)
def test_any_other_text_passes_as_it_is(text: str) -> None:
    """Accents, emoji, line ends of all kinds, and Windows-1252 that was read as Latin-1: cleaning mends it."""
    assert check_text(text) is text


@given(st.text(st.characters()))
def test_every_text_passes_or_is_refused_in_a_printable_line(text: str) -> None:
    refused = shows_nothing(text) or any(
        unicodedata.category(character) == "Cs"
        or (character < " " and character not in "\t\n\v\f\r")
        or character == "\x7f"
        for character in text
    )
    if refused:
        with pytest.raises(PromptError, match=r"^file\.txt: line 3: ") as error:
            check_text(text, "file.txt: line 3")
        assert str(error.value).isprintable()
    else:
        assert check_text(text, "file.txt: line 3") == text
        text.encode()


def test_the_grammar_and_plans_refuse_half_characters(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="half of a surrogate pair"):
        parse(HALF)
    plan = tmp_path / "plan.json"
    placed = '{"shape": "star", "colour": "red", "x": 3, "y": 3, "size": 1}'
    for content in (
        placed.replace("star", "\\ud800"),
        placed.replace('"x"', '"\\ud800"'),
        placed.replace('"x": 3', '"x": 3, "\\ud800": 1'),
    ):
        plan.write_text(f'{{"objects": [{content}]}}')
        with pytest.raises(PlanError) as error:
            load_plan(plan)
        assert str(error.value).isprintable()
