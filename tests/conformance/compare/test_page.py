"""docs/comparison.md: its tables are the committed report's, and the rows that it names exist."""

import csv
import re
from pathlib import Path

import pytest

from mulo_sd.conformance.bench.declared import AS_ON_THE_DEMO
from mulo_sd.conformance.compare.entries import ENTRIES
from mulo_sd.conformance.compare.methods import METHODS
from mulo_sd.conformance.tools.write_comparison import page_with_tables, parts_of

DOCS = Path(__file__).resolve().parents[3] / "docs"
PAGE = (DOCS / "comparison.md").read_text(encoding="utf-8")
REPORT = (DOCS / "comparison" / "comparison.md").read_text(encoding="utf-8")


def test_its_tables_are_the_reports() -> None:
    assert page_with_tables(PAGE, REPORT) == PAGE


def test_it_shows_both_tables() -> None:
    shown = re.findall(r"<!-- table: (.+?) / (.+?) -->", PAGE)
    assert ("The table", "By passes, at a score within 1 point of AR") in shown
    assert ("The table", "By seconds, at a score within 1 point of AR") in shown
    assert set(shown[:2]) <= set(parts_of(REPORT))


def test_every_row_that_it_names_can_be_drawn() -> None:
    named = re.findall(r"`([a-z-]+: [^`]+)`", PAGE) + re.findall(r'--row "([^"]+)"', PAGE)
    assert named
    assert set(named) <= {entry.name for entry in ENTRIES}


def test_it_has_a_paragraph_of_every_method() -> None:
    prose = PAGE.partition("## Method by method")[2].partition("\n## ")[0]
    headings = re.findall(r"^\*\*(.+?)\*\*", prose, re.MULTILINE)
    told = {name for heading in headings for name in re.findall(r"`(.+?)`", heading)}
    assert told == {method.name for method in METHODS}


@pytest.mark.parametrize("item", AS_ON_THE_DEMO, ids=lambda item: item.mode)
def test_the_benchmark_declares_what_was_measured(item: object) -> None:
    """Tokens a pass within a fifth of those of one of the method's rows."""
    assert isinstance(item, type(AS_ON_THE_DEMO[0]))
    with (DOCS / "comparison" / "comparison.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["method"] == item.mode]
    near = [float(row["tokens_a_pass"]) for row in rows]
    assert any(measured == pytest.approx(item.tokens, rel=0.2) for measured in near), near


def test_a_part_that_the_report_lacks_is_said_to_be_missing() -> None:
    report = "# R\n\n## The table: 60 prompts\n\n### A\n\n| x |\n\n### B\n\n| y |\n\n## Other: 9\n\n### A\n\n| z |\n"
    assert parts_of(report) == {("The table", "A"): "| x |", ("The table", "B"): "| y |", ("Other", "A"): "| z |"}
    page = (
        "before\n<!-- table: The table / A -->\nold\n<!-- /table -->\nbetween\n"
        "<!-- table: Other / C -->\n<!-- /table -->\n"
    )
    expected = (
        "before\n<!-- table: The table / A -->\n\n| x |\n\n<!-- /table -->\nbetween\n"
        "<!-- table: Other / C -->\n\nNot measured yet.\n\n<!-- /table -->\n"
    )
    assert page_with_tables(page, report) == expected
    assert page_with_tables(expected, report) == expected


def test_a_world_fills_its_own_parts() -> None:
    page = (
        "<!-- table: The table / A -->\nthe demo's\n<!-- /table -->\n"
        "<!-- table of pictograms: The table / A -->\n<!-- /table -->\n"
    )
    report = "# R\n\n## The table: 60 prompts\n\n### A\n\n| x |\n"
    expected = page.replace("/ A -->\n<!--", "/ A -->\n\n| x |\n\n<!--")
    assert page_with_tables(page, report, "pictograms") == expected
    assert page_with_tables(page, report).endswith("pictograms: The table / A -->\n<!-- /table -->\n")
