"""The pages' tables of settings and modes say what the declarations say."""

import ast
import re
from pathlib import Path

import pytest

from mulo_sd import processes
from mulo_sd.engines.modes import MODES
from mulo_sd.engines.setting_kinds import Choice, Real, Whole, Width, Window
from mulo_sd.engines.settings import SETTINGS, Settings
from mulo_sd.reference.demo.models import RECOMMENDED

DECLARED = Settings().model_dump()
# Numbers as the page of rules writes them, and infinity of a window.
NUMBER = re.compile(r"-?[\d.]+(?:\^-?\d+)?")


# [text](target) -> text
LINK = re.compile(r"\[([A-Z]+-\w+)\]\(#[^)]*\)")


def rows_of(page: str, header: str = "") -> dict[str, list[str]]:
    """Return the cells behind the name of every row whose first cell names settings or options of one.

    Args:
        page: Its path.
        header: How the one table begins that is read; without, all of the page's are.
    """
    rows: dict[str, list[str]] = {}
    text = LINK.sub(r"\1", (Path(processes.ROOT) / page).read_text(encoding="utf-8"))
    if header:
        text = text[text.index(f"\n{header}") :].lstrip("\n").split("\n\n")[0]
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        names = re.findall(r"`([\w-]+)`", cells[0]) if line.startswith("| `") else []
        for place, name in enumerate(names):
            assert name not in rows, f"{page}: {name} stands in two rows"
            # A row of several settings lists a value of each.
            rows[name] = [cell.split(", ")[place] if len(names) > 1 and ", " in cell else cell for cell in cells[1:]]
    return rows


def number_of(text: str) -> float:
    base, _, exponent = text.partition("^")
    return float(base) ** int(exponent or 1)


def written(value: object) -> str:
    """Return a value as docs/settings.md writes it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ",".join(str(number) for number in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_page_of_rules(name: str) -> None:
    """docs/semantics.md: the default, the range and the rule of each setting."""
    default, values, rule, _ = (cell.strip("`") for cell in rows_of("docs/semantics.md")[name])
    assert ast.literal_eval(default) == DECLARED[name]
    assert rule == ("[Modes](#modes)" if name == "mode" else SETTINGS[name].rule)
    kind = SETTINGS[name].kind
    if isinstance(kind, Choice):
        assert tuple(re.findall(r'"([\w-]+)"', values)) == kind.names
    elif isinstance(kind, Window):
        assert values == "1 or more, `None"
    elif isinstance(kind, Width):
        assert values == '1 or more, `None`, `"auto"'
    elif isinstance(kind, Whole | Real):
        numbers = [number_of(text) for text in NUMBER.findall(values)]
        assert numbers[0] == kind.least
        assert numbers[1:] in ([], [kind.most], [kind.zero_or, kind.most] if isinstance(kind, Real) else [])
        assert isinstance(kind, Whole) or numbers[-1] == kind.most


@pytest.mark.parametrize("name", SETTINGS)
def test_the_page_of_effects(name: str) -> None:
    """docs/settings.md: the library's default and the demo's."""
    library, demo, *_ = rows_of("docs/settings.md")[name]
    assert library == written(DECLARED[name])
    assert demo == written(getattr(RECOMMENDED, name))


def test_the_readme_says_what_each_mode_does() -> None:
    rows = rows_of("README.md", "| `--mode` |")
    assert {name: rows[name] for name in MODES} == {name: [mode.purpose] for name, mode in MODES.items()}


def test_no_other_rows_are_settings() -> None:
    assert rows_of("docs/settings.md").keys() == SETTINGS.keys()
