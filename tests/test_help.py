"""Every command says what its options are for, and the documentation names options that are there."""

import argparse
import importlib
import re
import shlex
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from mulo_sd.commands import COMMANDS
from mulo_sd.conformance import options
from mulo_sd.engines.backends import BACKENDS

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CODE_BLOCK = re.compile(r"^ *```(?:bash|sh)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
OPTION_IN_TABLE = re.compile(r"^\| `--([a-z-]+)", re.MULTILINE)


def _modules() -> list[str]:
    """Return every module of the packages that reads a command line."""
    found = []
    for package in ("engines", "export", "reference", "conformance"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if " = command_parser(" in path.read_text(encoding="utf-8"):
                found.append(".".join(path.relative_to(ROOT).with_suffix("").parts))
    return found


MODULES = _modules()


class _Caught(Exception):  # noqa: N818  # no error
    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


@cache
def parser_of(name: str) -> argparse.ArgumentParser:
    """Return the parser that a module's command makes."""

    def catch(parser: argparse.ArgumentParser, *given: object) -> Any:
        raise _Caught(parser)

    module = importlib.import_module(f"mulo_sd.{name}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", catch)
        patch.setattr(sys, "argv", [name])
        with pytest.raises(_Caught) as caught:
            module.main()
    return caught.value.parser


def parsers_of(name: str) -> list[argparse.ArgumentParser]:
    """Return it, and those of its sub-commands."""
    parser = parser_of(name)
    below = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return [parser, *(sub for choices in below for sub in choices.values())]


def options_of(name: str) -> set[str]:
    """Return the options of a command and of its sub-commands."""
    return {option for parser in parsers_of(name) for action in parser._actions for option in action.option_strings}


class _Options:
    """Notes the options of the suite, which pytest's parser would take."""

    def __init__(self) -> None:
        self.help: dict[str, str] = {}

    def getgroup(self, *given: str) -> "_Options":
        return self

    def addoption(self, option: str, help: str = "", **given: object) -> None:  # noqa: A002  # pytest's own name
        self.help[option] = help


def options_of_the_suite() -> dict[str, str]:
    """Return the help of each option of the conformance suite."""
    noted: Any = _Options()
    options.add_options(noted)
    return dict(noted.help)


def commands(text: str) -> list[tuple[str, list[str]]]:
    """Return the module and the options of every command of ours in a document's code blocks."""
    found = []
    for block in CODE_BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            for part in line.split("&&"):
                words = shlex.split(part, comments=True)
                given = [word.partition("=")[0] for word in words if word.startswith("--")]
                if "-m" in words:
                    found.append((words[words.index("-m") + 1], given))
                elif "mulo-sd" in words[:-1] and words[words.index("mulo-sd") + 1] in COMMANDS:
                    name = COMMANDS[words[words.index("mulo-sd") + 1]].module.removesuffix(".__main__")
                    found.append((name if name == "conformance" else f"mulo_sd.{name}", given))
    return found


def test_there_are_commands() -> None:
    assert {
        "engines.generate",
        "conformance.bench.__main__",
        "export.build",
        "conformance.vectors.__main__",
    } <= {*MODULES}


def test_one_place_makes_parsers() -> None:
    """Elsewhere a parser would print the usage of all options before it says what is wrong."""
    for package in ("engines", "export", "reference", "conformance"):
        for path in (ROOT / package).rglob("*.py"):
            assert "argparse.ArgumentParser(" not in path.read_text(encoding="utf-8"), path


@pytest.mark.parametrize("name", MODULES)
def test_every_option_says_what_it_is_for(name: str) -> None:
    for parser in parsers_of(name):
        silent = [action.dest for action in parser._actions if not action.help]
        assert silent == []
        text = " ".join([str(parser.description), *(str(action.help) for action in parser._actions)])
        assert [path for path in re.findall(r"docs/[\w/.-]*\w", text) if not (ROOT / path).exists()] == []


def test_every_option_of_the_suite_says_what_it_is_for() -> None:
    assert [option for option, text in options_of_the_suite().items() if not text] == []


@pytest.mark.parametrize("name", ["engines.generate", "conformance.bench.__main__", "conformance.calibrate.__main__"])
def test_a_backend_can_be_of_ones_own(name: str) -> None:
    """Wherever a command draws, and its help lists every one of ours."""
    parser = parser_of(name)
    action = next(action for action in parser._actions if action.dest == "backend")
    assert callable(action.type)
    assert [action.type(text) for text in (*BACKENDS, "my.module:make")] == [*BACKENDS, "my.module:make"]
    for text in ("nonsense", "my_backend.py", "./mine.py:make"):
        with pytest.raises(argparse.ArgumentTypeError, match=r"expected .*, got "):
            action.type(text)
    assert action.help == options_of_the_suite()["--backend"]
    assert all(name in action.help for name in (*BACKENDS, "module:factory"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_in_documents_have_options_that_are_there(document: Path) -> None:
    wrong = []
    for module, given in commands(document.read_text(encoding="utf-8")):
        name = module if module in MODULES else f"{module}.__main__"
        if name in MODULES:
            known = options_of(name)
        elif module in ("conformance", "pytest"):
            known = {*options_of_the_suite(), "--hypothesis-profile"}
        else:
            continue
        wrong += [f"{module} {option}" for option in given if option not in known]
    assert wrong == []


def test_the_finder_of_commands_reads_what_it_should() -> None:
    text = "```bash\nPYTHONPATH=. python -m a.b 'x --y' --out f \\\n    --n=3 && python3 -m c --d  # --e\n"
    text += "mulo-sd build --e\nmulo-sd conformance --f\n```\n"
    built = [("mulo_sd.export.build", ["--e"]), ("conformance", ["--f"])]
    assert commands(text) == [("a.b", ["--out", "--n"]), ("c", ["--d"]), *built]


def test_the_suites_page_lists_all_its_options() -> None:
    page = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
    assert {f"--{name}" for name in OPTION_IN_TABLE.findall(page)} == {*options_of_the_suite(), "--hypothesis-profile"}


@pytest.mark.parametrize(("name", "document"), [("study", "study.md"), ("compare", "comparison.md")])
def test_tables_list_all_options(name: str, document: str) -> None:
    """Of the pages that list a command's options: no more, no fewer, and the defaults are the parser's."""
    page = (ROOT / "docs" / document).read_text(encoding="utf-8")
    name = f"conformance.{name}.__main__"
    assert {f"--{option}" for option in OPTION_IN_TABLE.findall(page)} == options_of(name) - {"-h", "--help"}
    told = dict(re.findall(r"^\| `--([a-z-]+)` \| (\d+) \|", page, re.MULTILINE))
    for action in parser_of(name)._actions:
        if isinstance(action.default, int) and not isinstance(action.default, bool):
            assert told[action.dest.replace("_", "-")] == str(action.default)
