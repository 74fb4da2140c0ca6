"""Settings as options: every setting has one, and what is not given stays the bundle's."""

import argparse
from typing import Any

import pytest

from mulo_sd.engines.commands.setting_arguments import add_setting_arguments, settings_from_arguments
from mulo_sd.engines.settings import WINDOWS, Settings

# Every setting but the mode, as on the command line and as it comes out; no value is a default.
GIVEN: dict[str, tuple[list[str], object]] = {
    "guidance_scale": (["--guidance", "2.5"], 2.5),
    "temperature": (["--temperature", "0.5"], 0.5),
    "top_k": (["--top-k", "7"], 7),
    "top_p": (["--top-p", "0.25"], 0.25),
    "drafters": (["--drafters", "1,2"], (1, 2)),
    "up_sampler": (["--up-sampler", "nearest"], "nearest"),
    "down_sampler": (["--down-sampler", "bicubic"], "bicubic"),
    "tau": (["--tau", "-0.5"], -0.5),
    "radius": (["--radius", "5"], 5),
    "radius_nats": (["--radius-nats", "0.75"], 0.75),
    "anchor": (["--anchor", "2.5"], 2.5),
    "neighbours": (["--neighbours", "3"], 3),
    "draft_rows": (["--draft-rows", "2"], 2),
    "look_ahead": (["--look-ahead", "0"], 0),
    "refresh": (["--refresh"], True),
    "accept_on": (["--accept-on", "raw"], "raw"),
    "window": (["--window", "infinite"], None),
    "adaptive_window": (["--adaptive-window"], True),
    "draft_window": (["--draft-window", "2"], 2),
    "islands": (["--no-islands"], False),
    "island_window": (["--island-window", "1"], 1),
    "exact_window": (["--exact-window", "infinite"], None),
}


def parse(*arguments: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="test")
    add_setting_arguments(parser)
    return settings_from_arguments(parser.parse_args(arguments))


def test_every_setting_has_an_option() -> None:
    """All of them together, by the names that `Settings` gives them."""
    given = parse(*(text for texts, _ in GIVEN.values() for text in texts))
    assert given == {name: value for name, (_, value) in GIVEN.items()}
    assert given.keys() == Settings.model_fields.keys() - {"mode"}
    defaults = Settings().model_dump()
    assert all(value != defaults[name] for name, value in given.items())


def test_what_is_not_given_stays() -> None:
    """No option, no setting: infinity too is only what was asked for."""
    assert parse() == {}
    before = Settings(window=2, draft_window=3, islands=False, drafters=(2,), refresh=True)
    assert before.changed(**parse()) == before
    for name, (texts, value) in GIVEN.items():
        given = parse(*texts)
        assert given == {name: value}
        assert before.changed(**given) == before.model_copy(update={name: value})


@pytest.mark.parametrize("name", WINDOWS)
def test_windows(name: str) -> None:
    option = f"--{name.replace('_', '-')}"
    assert parse(option, "infinite") == {name: None}
    assert parse(option, "12") == {name: 12}


@pytest.mark.parametrize(("text", "expected"), [("1", (1,)), ("2", (2,)), ("1,2", (1, 2)), ("1,2,3", (1, 2, 3))])
def test_drafters(text: str, expected: tuple[int, ...]) -> None:
    assert parse("--drafters", text) == {"drafters": expected}


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--window", "endless", "expected a whole number or 'infinite', got 'endless'"),
        ("--exact-window", "4.5", "expected a whole number or 'infinite', got '4.5'"),
        ("--drafters", "one", "expected numbers of models, such as 1 or 1,2, got 'one'"),
        ("--drafters", "1,,2", "expected numbers of models, such as 1 or 1,2, got '1,,2'"),
        ("--drafters", "", "expected numbers of models, such as 1 or 1,2, got ''"),
        ("--tau", "high", "invalid float value: 'high'"),
        ("--radius", "1.5", "invalid int value: '1.5'"),
        ("--up-sampler", "cubic", "invalid choice: 'cubic'"),
        ("--down-sampler", "nearest", "invalid choice: 'nearest'"),
        ("--accept-on", "cooked", "invalid choice: 'cooked'"),
    ],
)
def test_bad_values(option: str, value: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The parser refuses with its usage and one line that names the option and the value."""
    with pytest.raises(SystemExit) as caught:
        parse(option, value)
    assert caught.value.code == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith(f"test: error: argument {option}: {said}")
