"""Settings as options: every setting has one, and what is not given stays the bundle's."""

import argparse
import re
from pathlib import Path
from typing import Any

import pytest

from mulo_sd.engines.commands.setting_arguments import (
    MAX_SETTINGS_BYTES,
    add_setting_arguments,
    leave_out_unread,
    read_settings,
    settings_from_arguments,
)
from mulo_sd.engines.settings import SETTINGS, WINDOWS, Settings, SettingsError
from tests.other_values import other_value

# Every setting, as on the command line and as it comes out; no value is a default.
GIVEN: dict[str, tuple[list[str], object]] = {
    "mode": (["--mode", "zipar"], "zipar"),
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
    "draft_by": (["--draft-by", "sweeps"], "sweeps"),
    "resample_by": (["--resample-by", "sweeps"], "sweeps"),
    "sweep_width": (["--sweep-width", "all"], None),
    "sweeps": (["--sweeps", "6"], 6),
    "draft_sweeps": (["--draft-sweeps", "4"], 4),
    "first_guess": (["--first-guess", "opening"], "opening"),
}
# Those that are not spelt out above.
GIVEN |= {
    name: ([f"--{name.replace('_', '-')}", str(other_value(name))], other_value(name))
    for name in SETTINGS
    if name not in GIVEN
}


def parse(*arguments: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="test")
    add_setting_arguments(parser)
    return settings_from_arguments(parser.parse_args(arguments))


def test_every_setting_has_an_option() -> None:
    """All of them together, by the names that `Settings` gives them."""
    given = parse(*(text for texts, _ in GIVEN.values() for text in texts))
    assert given == {name: value for name, (_, value) in GIVEN.items()}
    assert given.keys() == Settings.model_fields.keys()
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
    """None is a word of its own for each kind."""
    option, word = f"--{name.replace('_', '-')}", "all" if name == "sweep_width" else "infinite"
    assert parse(option, word) == {name: None}
    assert parse(option, "12") == {name: 12}


def test_an_automatic_width() -> None:
    assert parse("--sweep-width", "auto") == {"sweep_width": "auto"}


@pytest.mark.parametrize(("text", "expected"), [("1", (1,)), ("2", (2,)), ("1,2", (1, 2)), ("1,2,3", (1, 2, 3))])
def test_drafters(text: str, expected: tuple[int, ...]) -> None:
    assert parse("--drafters", text) == {"drafters": expected}


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--window", "endless", "expected a whole number or 'infinite', got 'endless'"),
        ("--sweeps", "4.5", "expected a whole number or 'infinite', got '4.5'"),
        ("--sweep-width", "infinite", "expected a whole number, 'all' or 'auto', got 'infinite'"),
        ("--first-guess", "right", "invalid choice: 'right'"),
        ("--drafters", "one", "expected numbers of models, such as 1 or 1,2, got 'one'"),
        ("--drafters", "1,,2", "expected numbers of models, such as 1 or 1,2, got '1,,2'"),
        ("--drafters", "", "expected numbers of models, such as 1 or 1,2, got ''"),
        ("--tau", "high", "expected a number, got 'high'"),
        ("--radius", "1.5", "expected a whole number, got '1.5'"),
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


def test_help_is_grouped_by_the_modes_that_read() -> None:
    """Every setting once, with its rule and its values."""
    parser = argparse.ArgumentParser(prog="test")
    add_setting_arguments(parser)
    groups = {group.title: {action.dest for action in group._group_actions} for group in parser._action_groups}
    assert groups["settings that zipar reads"] == {"adaptive_window"}
    assert groups["settings that zipar and zipar-published read"] == {"window"}
    assert groups["settings that serial reads"] == {"draft_rows", "look_ahead", "down_sampler", "refresh"}
    cascades = "exact with a cascade and ssd with a cascade read"
    assert groups[f"settings that parallel, {cascades}"] == {"islands", "island_window", "resample_by"}
    assert {"tau", "accept_on"} <= groups[f"settings that serial, parallel, {cascades}"]
    assert groups["settings that ar, serial, parallel, exact and ssd read"] == {"sweep_width"}
    assert {"mode", "temperature"} <= groups["settings that every mode reads"]
    text = " ".join(parser.format_help().split())
    for setting in SETTINGS.values():
        assert setting.purpose in text or setting.rule == "MODE-AR"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "a.toml",
            'mode = "exact"\ntau = 0.25\nsweeps = "infinite"\nsweep_width = "all"\ndrafters = [1, 2]\nrefresh = true\n',
        ),
        (
            "a.JSON",
            '{"mode": "exact", "tau": 0.25, "sweeps": null, "sweep_width": null, "drafters": [1, 2], "refresh": true}',
        ),
    ],
)
def test_a_file_of_settings(name: str, text: str, tmp_path: Path) -> None:
    """An option beside it comes first."""
    (tmp_path / name).write_text(text)
    named = parse("--settings", str(tmp_path / name), "--tau", "0.5")
    assert Settings().changed(**named) == Settings(
        mode="exact", tau=0.5, sweeps=None, sweep_width=None, drafters=(1, 2), refresh=True
    )


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.yaml", "tau: 1", r"expected a file that ends in \.json or \.toml, got '\.yaml'"),
        ("a.json", "{", r"expected JSON: "),
        ("a.json", '{"tau": 1, "tau": 2}', r"expected JSON: it names 'tau' twice"),
        ("a.json", '{"tau": NaN}', r"expected JSON: it holds NaN"),
        ("a.json", "[1]", r"expected settings by name, got list"),
        ("a.json", '{"tua": 1}', r"tua: expected the name of a setting \(perhaps tau\), got 1"),
        ("a.json", r'{"a\nb": 1}', r"'a\\nb': expected the name of a setting, got 1"),
        ("a.json", r'{"\u001b[31mtau": 1}', r"'\\x1b\[31mtau': expected the name of a setting, got 1"),
        ("a.json", r'{"\ud800": 1}', r"'\\ud800': expected the name of a setting, got 1"),
        ("a.json", '{"": 1}', r"'': expected the name of a setting, got 1"),
        ("a.json", '{"' + "k" * 5000 + '": 1}', r"'k{79}: expected the name of a setting, got 1"),
        ("a.json", '{"tau": null}', r"tau: expected a value, got null; leave the name out"),
        ("a.json", '{"top_k": 1.5}', r"top_k: expected a whole number in 0\.\.1048576, got 1\.5"),
        ("a.toml", "tau = ", r"expected TOML: "),
        ("a.toml", "tau = inf", r"tau: expected a number in -1e\+09\.\.1e\+09, got inf"),
        ("a.toml", 'mode = "best"', r"mode: expected one of ar, zipar, serial, .*, ssd, got 'best'"),
        ("a.json", " " * (MAX_SETTINGS_BYTES + 1), r"expected at most 65536 bytes, got 65537"),
    ],
)
def test_files_that_cannot_be_used(name: str, text: str, said: str, tmp_path: Path) -> None:
    """One line that names the file, and the setting where there is one."""
    (tmp_path / name).write_text(text)
    with pytest.raises(SettingsError, match=rf"^{re.escape(str(tmp_path / name))}: {said}") as caught:
        read_settings(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.json: expected a file of settings, found none"):
        read_settings(tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    ("named", "settings", "said"),
    [
        (
            {"tau": 0.5, "mode": "ar"},
            Settings(mode="ar"),
            "note: mode ar does not read tau (tau: serial, parallel, exact with a cascade and ssd with a cascade)",
        ),
        (
            {"tau": 0.5, "mode": "exact"},
            Settings(mode="exact"),
            "note: mode exact does not read tau (tau: serial, parallel, exact with a cascade and ssd with a cascade)",
        ),
        (
            {"window": 3, "tau": 0.5, "refresh": True},
            Settings(mode="parallel"),
            "note: mode parallel does not read window, refresh (window: zipar and zipar-published; refresh: serial)",
        ),
    ],
)
def test_settings_that_the_mode_does_not_read(
    named: dict[str, Any], settings: Settings, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, on standard error; what is read is left, so that the same decode has the same settings."""
    left = {
        name: value
        for name, value in named.items()
        if name == "mode" or (settings.mode == "parallel" and name == "tau")
    }
    assert leave_out_unread(named, settings) == left
    output = capsys.readouterr()
    assert (output.out, output.err.count("\n")) == ("", 1)
    assert output.err.startswith(said)


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"sweeps": 2}, "note: sweeps has no effect without --resample-by sweeps\n"),
        ({"draft_sweeps": 2}, "note: draft_sweeps has no effect without --draft-by sweeps\n"),
        ({"draft_window": 2, "draft_by": "sweeps"}, "note: draft_window has no effect without --draft-by windows\n"),
        ({"jacobi_window": 8}, "note: jacobi_window has no effect without --draft-by rows\n"),
        ({"sweeps": 2, "resample_by": "sweeps", "draft_window": 3}, ""),
    ],
)
def test_settings_without_effect(named: dict[str, object], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """They are said and stay: what they wait for may come from another place."""
    assert leave_out_unread(named, Settings(mode="parallel").changed(**named)) == named
    assert capsys.readouterr() == ("", said)


def test_nothing_is_said_of_what_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    named = {"tau": 0.5, "mode": "exact"}
    assert leave_out_unread(named, Settings(mode="exact", drafters=(1, 2))) == named
    assert capsys.readouterr() == ("", "")
