"""The table of modes: what each entry says, its twin, and that no code knows a mode by its name."""

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from mulo_sd import processes
from mulo_sd.conformance.strategies.decodes import CASCADE, Case
from mulo_sd.engines import modes, parts
from mulo_sd.engines.settings import SETTINGS, Settings
from mulo_sd.reference import modes as reference
from mulo_sd.reference import settings as reference_settings
from tests.other_values import other_value

ROOT = Path(processes.ROOT)
FOLDERS = ("engines", "reference", "export", "conformance")
TABLES = (
    *(ROOT / "engines" / "modes.py", ROOT / "reference" / "modes.py"),
    # An oracle, which reads no table that it is held against.
    ROOT / "conformance" / "rules" / "sweeping.py",
)
# Whose names are those of rows and of variants, each with settings of its own.
ROWS = (ROOT / "conformance" / "bench", ROOT / "conformance" / "study")
# mode: draft, acceptance, correction, carry; of the coarsest grid its window and limit
EXPECTED = {
    "ar": ("sweep", "coupled", "prefix", "fresh", None, None),
    "zipar": (None, None, None, "fresh", "window", None),
    "serial": ("coarse", "pooled", "local", "fresh", "draft_window", "draft_sweeps"),
    "parallel": ("coarse", "pooled", "local", "fresh", "draft_window", "draft_sweeps"),
    "exact": ("coarse", "coupled", "prefix", "fresh", "draft_window", "draft_sweeps"),
    "zipar-published": (None, None, None, "fresh", "window", None),
    "sjd": ("sweep", "lossless", "prefix", "fresh", None, None),
    "sjd-gumbel": ("sweep", "lossless", "prefix", "same", None, None),
    "sjd-maximal": ("sweep", "lossless", "prefix", "coupled", None, None),
    "gsd": ("sweep", "grouped", "prefix", "fresh", None, None),
    "cool-sd": ("head", "annealed", "prefix", "fresh", None, None),
    "specdec": ("block", "top-beta", "prefix", "fresh", None, None),
    "pjd": ("sweep", "lossless", "rows", "kept", None, None),
    "eagle": ("head", "lossless", "prefix", "fresh", None, None),
    "eagle-tree": ("tree", "lossless", "prefix", "fresh", None, None),
    "lantern": ("tree", "lantern", "prefix", "fresh", None, None),
    "lantern-plus": ("static-tree", "lantern-plus", "prefix", "fresh", None, None),
    "ssd": ("coarse", "lossless", "rounds", "coupled", "draft_window", "draft_sweeps"),
}
# Those that decide rows or islands as rejections leave them: what they resample, by window, islands and limit.
RESAMPLING = {"serial": (None, None, "sweeps"), "parallel": ("island_window", "islands", "sweeps")}


def test_what_each_mode_is() -> None:
    said = {
        name: (
            *(mode.draft, mode.acceptance, mode.correction, mode.carry),
            *(mode.coarsest.window, mode.coarsest.limit),
        )
        for name, mode in modes.MODES.items()
    }
    assert said == EXPECTED
    local = {name: mode.resampling for name, mode in modes.MODES.items() if mode.is_local}
    assert {name: (order.window, order.by_island, order.limit) for name, order in local.items()} == RESAMPLING
    assert tuple(name for name, parts in EXPECTED.items() if parts[0] != "coarse") == modes.UNDRAFTED_MODES
    assert [name for name, mode in modes.MODES.items() if mode.by_rows] == ["serial"]
    assert [name for name, mode in modes.MODES.items() if mode.is_exact] == ["exact"]
    assert [name for name, mode in modes.MODES.items() if mode.sees_zeros] == ["zipar-published"]
    assert get_args(modes.Mode) == tuple(modes.MODES)


def test_the_reference_has_the_same_table() -> None:
    """Entry by entry. What a mode reads follows from its parts, and is tried below."""
    assert get_args(reference.Mode) == get_args(modes.Mode)
    for name, mode in modes.MODES.items():
        twin = vars(reference.MODES[name])
        assert {item: repr(value) for item, value in twin.items()} == {
            item: repr(value) for item, value in vars(mode).items()
        }


@pytest.mark.parametrize("drafters", [(1,), (1, 2)])
@pytest.mark.parametrize("mode", modes.MODES)
def test_what_a_mode_does_not_read_changes_nothing(mode: modes.Mode, drafters: tuple[int, ...]) -> None:
    """By the reference's own decodes: their tokens and all that their passes fed."""
    settings = reference_settings.Settings(mode=mode, drafters=drafters, tau=0.2, neighbours=3, draft_rows=1)
    case = CASCADE._replace(settings=settings)

    def decoded(case: Case) -> tuple[list[list[int]], list[list[int]]]:
        made = case.run()
        return made.tokens.tolist(), [step.tokens.tolist() for step in made.trace.passes]

    right = decoded(case)
    unread = Settings(mode=mode, drafters=drafters).unread(SETTINGS)
    assert unread
    changes: dict[str, Any] = {name: other_value(name) for name in unread}
    if decoded(case._replace(settings=replace(settings, **changes))) != right:
        alone = [replace(settings, **{name: value}) for name, value in changes.items()]
        read = [
            name for name, item in zip(unread, alone, strict=True) if decoded(case._replace(settings=item)) != right
        ]
        pytest.fail(f"read, though the table says otherwise: {read}")


def test_the_settings_that_a_table_names_exist() -> None:
    """And every setting is read by some mode or part."""
    read: set[str] = set()
    for mode in modes.MODES.values():
        assert {name for name in vars(mode.coarsest).values() if name} <= mode.reads
        read |= mode.reads | mode.cascade_reads
    # Or by a part that no mode has of itself.
    read |= set().union(*parts.ACCEPTANCE_READS.values())
    assert read == set(SETTINGS)


@pytest.mark.parametrize(
    ("mode", "drafters", "unread"),
    [
        ("ar", (1,), ["tau", "window", "sweeps", "draft_by"]),
        ("zipar", (1,), ["tau", "sweeps", "sweep_width", "draft_by"]),
        ("serial", (1,), ["window"]),
        ("exact", (1,), ["tau", "window", "sweeps"]),
        ("exact", (1, 2), ["window"]),
    ],
)
def test_what_a_decode_does_not_read(mode: modes.Mode, drafters: tuple[int, ...], unread: list[str]) -> None:
    settings = Settings(mode=mode, drafters=drafters)
    assert settings.unread(["temperature", "tau", "window", "sweeps", "sweep_width", "draft_by"]) == unread


def _names_a_mode(node: ast.expr) -> bool:
    """Whether an operand is a mode's name, or holds nothing but such names."""
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return bool(node.elts) and all(_names_a_mode(item) for item in node.elts)
    return isinstance(node, ast.Constant) and node.value in modes.MODES


def comparisons(source: str) -> list[int]:
    """Return the lines that compare a mode with a mode's name."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Match) and "mode" in ast.unparse(node.subject):
            values = [item.value for item in ast.walk(node) if isinstance(item, ast.MatchValue)]
            lines += [value.lineno for value in values if _names_a_mode(value)]
        if isinstance(node, ast.Compare) and "mode" in ast.unparse(node):
            lines += [node.lineno for operand in (node.left, *node.comparators) if _names_a_mode(operand)]
        if (
            isinstance(node, ast.Dict)
            and node.keys
            and all(key is not None and _names_a_mode(key) for key in node.keys)
        ):
            lines.append(node.lineno)
    return lines


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_mode_is_known_by_its_name(folder: str) -> None:
    """What tells a mode from the others stands in the table alone, on either side."""
    found = {
        f"{path.relative_to(ROOT)}:{line}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path not in TABLES and path.parent not in ROWS
        for line in comparisons(path.read_text(encoding="utf-8"))
    }
    assert found == set()


def test_the_finder_finds() -> None:
    assert comparisons('if settings.mode == "exact":\n    pass\n') == [1]
    assert comparisons('if settings.mode not in ("ar", "zipar"):\n    pass\n') == [1]
    assert comparisons('window = {"ar": 1}.get(mode)\n') == [1]
    assert comparisons('match settings.mode:\n    case "ar" | "exact":\n        pass\n') == [2, 2]
    assert comparisons('if image.mode == "RGB" or name == "exact":\n    pass\n') == []


def test_every_setting_is_declared_on_both_sides() -> None:
    """With one name and one default; the values that they take are compared in test_settings.py."""
    ours = {name: field.default for name, field in Settings.model_fields.items()}
    assert ours == {name: field.default for name, field in reference_settings.Settings.__dataclass_fields__.items()}
    assert all(setting.rule and setting.purpose and setting.kind.values for setting in SETTINGS.values())
