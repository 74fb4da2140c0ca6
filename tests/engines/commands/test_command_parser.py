"""How commands read their options: one line where these cannot be used, and names by which they were started."""

import sys
from collections.abc import Sequence

import pytest

from mulo_sd.engines.commands.command_parser import command_parser


@pytest.fixture
def _named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/build.py"])


def told(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return what standard error says of arguments that cannot be used."""
    parser = command_parser("export.build", "python -m export.build --out DIR: build a bundle.")
    parser.add_argument("--out", required=True)
    parser.add_argument("--rows", type=int)
    below = parser.add_subparsers(dest="command")
    below.add_parser("plan").add_argument("--kind", choices=["a", "b"])
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(arguments)
    assert ended.value.code == 2
    output, errors = capsys.readouterr()
    assert not output
    return errors


@pytest.mark.usefixtures("_named")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the following arguments are required: --out; --help lists the options"),
        (["--out", "a", "--row", "x"], "argument --rows: invalid int value: 'x'; --help lists the options"),
        (["--out", "a", "--none"], "unrecognized arguments: --none; --help lists the options"),
        (["--out"], "argument --out: expected one argument"),
    ],
)
def test_one_line(arguments: Sequence[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(arguments, capsys) == f"python -m export.build: error: {said}\n"


@pytest.mark.usefixtures("_named")
def test_one_line_of_a_sub_command(capsys: pytest.CaptureFixture[str]) -> None:
    lines = told(["--out", "a", "plan", "--kind", "c"], capsys).splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("python -m export.build plan: error: argument --kind: invalid choice: 'c'")


@pytest.mark.parametrize(
    ("started", "name"), [("/somewhere/build.py", "python -m export.build"), ("mulo-sd build", "mulo-sd build")]
)
def test_usage_names_what_started_it(
    started: str, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The docstring's command line is left out of the purpose."""
    monkeypatch.setattr(sys, "argv", [started])
    command_parser("export.build", "python -m export.build --out DIR: build a bundle.").print_help()
    printed = capsys.readouterr().out
    assert printed.startswith(f"usage: {name} [-h]")
    assert "\nbuild a bundle." in printed
