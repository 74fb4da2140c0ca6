"""The documentation's links resolve, and the commands in it can be run."""

import re
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote

import pytest

from mulo_sd.reference.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

CODE_BLOCK = re.compile(r"^ *(```|~~~)[^\n]*\n(.*?)^ *\1 *$", re.DOTALL | re.MULTILINE)
INLINE_CODE = re.compile(r"`[^`\n]+`")
# [text](target "title") and ![text](target); [label]: target; src="target" and href="target"
LINKS = (
    re.compile(r"\]\(\s*<?([^\s<>)]+)>?[^)]*\)"),
    re.compile(r"^ *\[[^\]]+\]:\s*<?([^\s<>]+)", re.MULTILINE),
    re.compile(r"\b(?:src|href)=[\"']([^\"']+)"),
)
HAS_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
MODULE_RUN = re.compile(r"\bpython[\d.]*\s+(?:-\w+\s+)*?-m\s+([\w.]+)")
TEST_COMMAND = re.compile(
    r"^<!-- test-command -->\n\s*```bash\n(.*?)^```\n\s*<!-- /test-command -->$", re.DOTALL | re.MULTILINE
)

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())


def linked_paths(text: str) -> list[str]:
    """Return the targets of a document's relative links and images, without their fragments."""
    prose = INLINE_CODE.sub("", CODE_BLOCK.sub("", text))
    targets = [target for pattern in LINKS for target in pattern.findall(prose)]
    local = [target for target in targets if not HAS_SCHEME.match(target) and not target.startswith(("#", "//"))]
    return [unquote(re.split("[?#]", target)[0]) for target in local]


def run_modules(text: str) -> list[str]:
    """Return the modules that a document's code blocks run with `python -m`."""
    return [module for _, block in CODE_BLOCK.findall(text) for module in MODULE_RUN.findall(block)]


def can_be_run(module: str) -> bool:
    """Return whether `python -m module` finds something to run."""
    try:
        spec = find_spec(module)
        if spec is not None and spec.submodule_search_locations is not None:  # a package
            spec = find_spec(f"{module}.__main__")
    except ModuleNotFoundError:
        return False
    return spec is not None


@each_document
def test_relative_links_resolve_inside_the_repository(document: Path) -> None:
    broken = []
    for target in linked_paths(document.read_text(encoding="utf-8")):
        base = ROOT if target.startswith("/") else document.parent
        path = (base / target.lstrip("/")).resolve()
        if not (path.is_relative_to(ROOT) and path.exists()):
            broken.append(target)
    assert not broken


@each_document
def test_fragments_of_links_are_headings(document: Path) -> None:
    prose = INLINE_CODE.sub("", CODE_BLOCK.sub("", document.read_text(encoding="utf-8")))
    targets = [target for pattern in LINKS for target in pattern.findall(prose) if "#" in target]
    for page, _, fragment in (target.partition("#") for target in targets if not HAS_SCHEME.match(target)):
        linked = document if not page else document.parent / page
        headings = re.findall(r"^#+ +(.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert fragment in anchors, f"{page}#{fragment}"


@each_document
def test_modules_in_code_blocks_can_be_run(document: Path) -> None:
    modules = run_modules(document.read_text(encoding="utf-8"))
    assert [module for module in modules if not can_be_run(module)] == []


def test_readme_marks_the_test_command_for_ci() -> None:
    found = TEST_COMMAND.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(found) == 1
    assert 'pip install -e ".[test]"' in found[0]
    assert re.search(r"bin/pytest$", found[0].strip())


def test_link_finder_reads_every_form_of_link() -> None:
    text = """
[a](a.md#part) ![b](b%20c.png "title") <img src="d.png"> [e](https://example.org/x.md) [f](#part)

[g]: ../g.md

`[not](a-link.md)`

```bash
[nor](this.md)
```
"""
    assert sorted(linked_paths(text)) == ["../g.md", "a.md", "b c.png", "d.png"]


def test_module_finder_reads_code_blocks_only() -> None:
    text = "python -m prose\n\n```bash\n.venv/bin/python -m reference.train --x 1\npython3 -u -m venv\n```\n"
    assert run_modules(text) == ["reference.train", "venv"]
    assert can_be_run("venv")
    assert not can_be_run("mulo_sd.reference.no_such_module")
    assert not can_be_run("no_such_package.module")


def test_the_page_of_rules_names_every_setting() -> None:
    page = (ROOT / "docs" / "semantics.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == {field.name for field in fields(Settings)}
