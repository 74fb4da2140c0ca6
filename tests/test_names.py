"""What pages, docstrings, comments and messages name is there: modules, files, rules, commands and their options."""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from mulo_sd.commands import COMMANDS
from mulo_sd.conformance.rules_of_tests import ALL_RULES
from mulo_sd.engines.cluster.options import ClusterOptions
from mulo_sd.reference.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("engines", "reference", "export", "conformance", "mulo_sd")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SOURCES = [path for folder in (*PACKAGES, "tests") for path in sorted((ROOT / folder).rglob("*.py"))]

OUTSIDE = r"(?<![\w./{}<>-])"  # a name is no part of a longer one, of a URL or of a template
DOTTED = re.compile(rf"{OUTSIDE}(?:{'|'.join(PACKAGES)})(?:\.[A-Za-z_]\w*)+(?![\w/-])")
PATH = re.compile(rf"{OUTSIDE}(?:{'|'.join(PACKAGES)}|tests|docs|\.ci)/[\w./-]*[\w/](?![\w<{{*])(?:#[\w-]+)?")
FILE_NAME = re.compile(r"(?<![\w./{}<>*-])[a-z_]\w*\.py\b")
RULE = re.compile(r"\b(?:[A-Z]{2,}-\d+|MODE-[A-Z]+)\b")
MODULE_RUN = re.compile(r"\bpython[\d.]* (?:-\w+ )*?-m ([\w.]+)")
COMMAND_RUN = re.compile(r"^(?:\.venv/bin/)?mulo-sd ([a-z][\w-]*)|`mulo-sd ([a-z][\w-]*)", re.MULTILINE)
COMMAND_LINE = re.compile(rf"(?:-m (?:{'|'.join(PACKAGES)}|pytest)\b|\bmulo-sd [a-z]|\bpytest conformance)[^`|\n]*")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")

# A file that is called like a package; what every package, or what tells where one is, has.
NO_MODULES = (".py", ".json", ".md", ".__path__", ".submodule_search_locations")
# Names that the service gives events, attributes of spans, and its log.
NAMES_OF_THE_SERVICE = {"mulo_sd.decode_step", "mulo_sd.passes", "mulo_sd.acceptance_rate", "mulo_sd.serve"}
NO_RULES = {
    # Methods that others published.
    "EAGLE-1",
    "EAGLE-2",
    *("UTF-8", "UTF-16", "UTF-32", "VQ-8", "VQ-16", "AVX-512"),
    *("OFL-1", "DFS-2016"),  # licenses
}
# Files of the reader's own, of other projects, and of the repository's root.
OTHER_FILES = {"my_backend.py", "planted.py", "export.py", "reference.py", "setup.py", "conftest.py"}
OPTIONS_OF_PYTEST = {"--co", "--lf", "--durations", "--timeout", "--strict-config"}


class Text(NamedTuple):
    """A piece of prose, and where it stands."""

    where: str
    text: str


def prose_of_source(path: Path) -> str:
    """Return a module as it is: code that runs names nothing wrong. Of tests, whose strings make names up, less."""
    source = path.read_text(encoding="utf-8")
    if path.relative_to(ROOT).parts[0] != "tests":
        return source
    return "\n\n".join(re.findall(r'"""(?:.|\n)*?"""|(?<![\w"\'])# .*', source))


@cache
def prose() -> list[Text]:
    """Return all pages, and what sources say to people."""
    pages = [Text(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")) for path in PAGES]
    return pages + [Text(str(path.relative_to(ROOT)), prose_of_source(path)) for path in SOURCES]


def named(pattern: re.Pattern[str], texts: list[Text]) -> Iterator[tuple[str, str]]:
    """Yield each name that a pattern finds, and where."""
    for where, text in texts:
        for match in pattern.finditer(text):
            yield next((group for group in match.groups() if group), match[0]), where


def assert_none(wrong: Iterable[tuple[str, str]], what: str) -> None:
    """Fail with a line for each name."""
    lines = sorted({f"{where}: {name}" for name, where in wrong})
    assert not lines, "\n".join([f"no such {what}:", *lines])


class Scope(NamedTuple):
    """The names that a module or a class defines, and the classes that it derives from."""

    names: dict[str, ast.AST]
    bases: list[str]


@cache
def parsed(path: Path) -> ast.Module:
    """Return a module's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"))


def scope_of(node: ast.Module | ast.ClassDef) -> Scope:
    """Return what a module defines at its top, or what a class defines, attributes of `self` included."""
    names: dict[str, ast.AST] = {}
    for child in ast.walk(node) if isinstance(node, ast.ClassDef) else node.body:
        match child:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.AsyncFunctionDef(name=name):
                names.setdefault(name, child)
            case ast.Assign(targets=targets):
                for part in (part for target in targets for part in ast.walk(target)):
                    if isinstance(part, ast.Name):
                        names.setdefault(part.id, child)
                    elif isinstance(part, ast.Attribute):
                        names.setdefault(part.attr, child)
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.AnnAssign(target=ast.Attribute(attr=name)):
                names.setdefault(name, child)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                for alias in aliases:
                    names.setdefault(alias.asname or alias.name, child)
    bases = [ast.unparse(base) for base in node.bases] if isinstance(node, ast.ClassDef) else []
    return Scope(names, bases)


def exists(dotted: str) -> bool:
    """Return whether a dotted name leads to a module, or to a name that a module or one of its classes defines."""
    parts = dotted.removeprefix("mulo_sd.").split(".")
    path = ROOT if parts[0] in PACKAGES else ROOT / "mulo_sd"
    while parts and (path / parts[0]).is_dir():
        path /= parts.pop(0)
    module = path / "__init__.py"
    if parts and (path / f"{parts[0]}.py").is_file():
        module = path / f"{parts.pop(0)}.py"
    if not module.is_file():
        return not parts
    return _defines(parsed(module), parts)


def _defines(node: ast.Module | ast.ClassDef, parts: list[str]) -> bool:
    if not parts:
        return True
    definition = scope_of(node).names.get(parts[0])
    match definition:
        case None:
            return False
        case ast.ClassDef():
            return _defines(definition, parts[1:]) or bool(scope_of(definition).bases and len(parts) == 2)
        case ast.ImportFrom(module=str(module), names=aliases):
            original = next(alias.name for alias in aliases if (alias.asname or alias.name) == parts[0])
            return not module.startswith("mulo_sd") or exists(".".join([module, original, *parts[1:]]))
    return True


def headings(page: Path) -> set[str]:
    """Return the fragments that a page's headings make."""
    titles = re.findall(r"^#+ +(.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_dotted_names_lead_somewhere() -> None:
    names = set(named(DOTTED, prose()))
    assert {"mulo_sd.engines", "reference.decode"} <= {name for name, _ in names}
    there = {name for name in {name for name, _ in names} if exists(name) or name.endswith(NO_MODULES)}
    there |= NAMES_OF_THE_SERVICE
    assert_none((pair for pair in names if pair[0] not in there), "module or name")


def test_files_that_are_named_are_there() -> None:
    names = set(named(PATH, prose()))
    assert any(name == "docs/semantics.md" for name, _ in names)
    assert_none((pair for pair in names if not _is_there(pair[0].partition("#")[0])), "file")
    for name, where in names:
        page, _, fragment = name.partition("#")
        if fragment and page.endswith(".md"):
            assert fragment in headings(ROOT / page), f"{where}: no such heading: {name}"


def _is_there(name: str) -> bool:
    """Return whether a path of the repository exists; parts of the suite go by their paths in it."""
    return (ROOT / name).exists() or ("/test_" in name and (ROOT / "conformance" / name).exists())


def test_modules_that_are_named_by_their_file_are_there() -> None:
    files = {path.name for path in SOURCES} | OTHER_FILES
    assert_none((pair for pair in named(FILE_NAME, prose()) if pair[0] not in files), "module")


def test_rules_that_are_named_are_rules() -> None:
    paths = (*SOURCES, *PAGES, ROOT / "CHANGELOG.md")
    names = set(named(RULE, [Text(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")) for path in paths]))
    assert {name for name, _ in names} >= set(ALL_RULES) - {"PREFILL"}
    assert_none((pair for pair in names if pair[0] not in ALL_RULES and pair[0] not in NO_RULES), "rule")


def test_commands_that_are_named_are_there() -> None:
    runs = set(named(COMMAND_RUN, prose()))
    assert {"generate", "build", "conformance"} <= {name for name, _ in runs}
    assert_none((pair for pair in runs if pair[0] not in COMMANDS), "command of mulo-sd")
    modules = {pair for pair in named(MODULE_RUN, prose()) if pair[0].partition(".")[0] in PACKAGES}
    assert any(name == "engines.generate" for name, _ in modules)
    assert_none((pair for pair in modules if not can_be_run(pair[0])), "module to run")


def can_be_run(module: str) -> bool:
    """Return whether `python -m module` finds something of ours to run."""
    path = ROOT.joinpath(*module.removeprefix("mulo_sd.").split("."))
    return (path / "__main__.py").is_file() or path.with_suffix(".py").is_file()


def test_options_that_are_named_with_a_command_are_there() -> None:
    sources = [path for path in SOURCES if path.relative_to(ROOT).parts[0] != "tests"]
    literal = re.compile(r"\"(--[a-z][a-z-]*)[\"=]")
    literals = {option for path in sources for option in literal.findall(path.read_text(encoding="utf-8"))}
    settings = {f"--{field.name.replace('_', '-')}" for field in fields(Settings)}
    settings |= {f"--{name.replace('_', '-')}" for name in ClusterOptions.model_fields}
    known = literals | settings | {f"--no-{name.removeprefix('--')}" for name in settings} | OPTIONS_OF_PYTEST
    pages = [Text(where, re.sub(r" \\\n *", " ", text)) for where, text in prose() if where.endswith(".md")]
    lines = [Text(where, line[0]) for where, text in pages for line in COMMAND_LINE.finditer(text)]
    options = set(named(OPTION, lines))
    assert {"--bundle", "--out"} <= {option for option, _ in options}
    assert_none((pair for pair in options if pair[0] not in known), "option")


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("engines.rules.grid", True),
        ("mulo_sd.reference.exact", True),
        ("reference.schedule.Schedule", True),
        ("reference.trace.Trace.acceptance_rate", True),
        ("engines.load", True),
        ("reference.no_such_module", False),
        ("mulo_sd.reference.schedule.no_such_name", False),
        ("reference.trace.Trace.no_such_member", False),
        ("engines.no_such_name", False),
    ],
)
def test_names_are_looked_up(name: str, there: bool) -> None:
    assert exists(name) is there
