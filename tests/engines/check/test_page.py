"""docs/bundle.md: its tables of a plan's compatibility and of verdicts are whole."""

import re
from pathlib import Path

from mulo_sd.engines.backends.verdicts import WORDS, Outcome
from mulo_sd.engines.bundle.entries import PlanCompatibility

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "bundle.md").read_text(encoding="utf-8")


def rows(section: str) -> str:
    """Return what stands below a heading."""
    return PAGE.partition(f"# {section}\n")[2].partition("\n#")[0]


def test_every_field() -> None:
    fields = re.findall(r"^\| `(\w+)` \|", rows("Where a plan runs"), re.MULTILINE)
    assert fields == [*PlanCompatibility.model_fields]


def test_every_verdict() -> None:
    told = re.findall(r"^\| ([a-z ]+) \| `(\w+)` \|", rows("Does it run here?"), re.MULTILINE)
    assert {Outcome(outcome): words for words, outcome in told} == WORDS
