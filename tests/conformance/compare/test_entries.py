"""The rows: each is a decode that exists, and its name is its own."""

from typing import Any

import pytest

from mulo_sd.conformance.compare.entries import CONTROLS, ENTRIES, Entry, entries_of
from mulo_sd.conformance.compare.methods import BY_NAME, METHODS
from mulo_sd.engines.modes import MODES
from mulo_sd.engines.settings import Settings


def changes_of(entry: Entry) -> dict[str, Any]:
    return entry.variant.changes(Settings())


def settings_of(entry: Entry) -> Settings:
    return Settings().changed(**changes_of(entry))


def test_names_are_unique() -> None:
    names = [entry.name for entry in ENTRIES]
    assert len(set(names)) == len(names)
    assert len(BY_NAME) == len(METHODS)


def test_every_mode_is_compared() -> None:
    """A new mode of the table of modes stands in no comparison until it has a row."""
    assert {settings_of(entry).mode for entry in ENTRIES} == set(MODES)
    assert {entry.method for entry in ENTRIES} == set(BY_NAME)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_a_row_changes_only_what_its_mode_reads(entry: Any) -> None:
    """A setting without effect would make two rows of one decode."""
    settings = settings_of(entry)
    changed = [name for name in changes_of(entry) if name != "mode"]
    assert settings.unread(changed) == []
    assert settings.idle(changed) == {}


def test_rows_are_decodes_of_their_own() -> None:
    """Rows of one method differ in what the mode reads; with defaults that a row repeats, two might be one."""
    seen: dict[str, str] = {}
    for entry in ENTRIES:
        settings = settings_of(entry)
        reads = settings.decoding.reads_of(settings.drafters)
        decode = repr({name: getattr(settings, name) for name in sorted(reads)})
        assert decode not in seen, f"{entry.name} and {seen[decode]}"
        seen[decode] = entry.name


def test_every_method_that_is_published_has_its_authors_setting() -> None:
    published = {entry.method for entry in ENTRIES if entry.kind == "published"}
    assert {method.name for method in METHODS if method.read != "ours"} <= published


def test_no_width_is_left_to_the_machine() -> None:
    """What "auto" is depends on the processor, and so would the passes of a row."""
    for entry in ENTRIES:
        settings = settings_of(entry)
        by_sweeps = "sweep_width" in settings.decoding.reads_of(settings.drafters)
        orders = (settings.draft_by, settings.resample_by)
        if by_sweeps and (settings.mode in ("ar", "exact") or "sweeps" in orders):
            assert settings.sweep_width != "auto", entry.name


def test_ar_stands_beside_whatever_is_asked_for() -> None:
    assert [entry.name for entry in entries_of(["sjd: window 16"], None)] == ["ar", "sjd: window 16"]
    assert {entry.method for entry in entries_of(None, ["zipar"])} == {"ar", "zipar"}
    assert entries_of(None, None) == list(ENTRIES)
    assert [item.other_seeds for item in CONTROLS] == [False, True]
    assert ENTRIES[0].variant == CONTROLS[0]


@pytest.mark.parametrize(
    ("rows", "methods", "expected"),
    [(["nonsense"], None, "--row: expected some of ar; "), (None, ["nonsense"], "--methods: expected some of ar, ")],
)
def test_unknown_names(rows: list[str] | None, methods: list[str] | None, expected: str) -> None:
    with pytest.raises(ValueError, match=r"got 'nonsense'$") as raised:
        entries_of(rows, methods)
    assert str(raised.value).startswith(expected)
