"""Plans: they survive a file, and a bad file or a plan that does not fit is refused in one line."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulo_sd.engines.prompts.grammar import parse
from mulo_sd.engines.prompts.plan import (
    MAX_PLAN_BYTES,
    Plan,
    PlanError,
    PlannedObject,
    check_plan,
    load_plan,
    save_plan,
)
from mulo_sd.engines.prompts.vocabulary import COLOURS, MAX_OBJECTS, POSITION_BINS, RADII, SHAPES, Colour, Shape

bins = st.integers(0, POSITION_BINS - 1)
planned_objects = st.builds(
    PlannedObject,
    shape=st.sampled_from(SHAPES),
    colour=st.sampled_from(COLOURS),
    x=bins,
    y=bins,
    size=st.integers(0, len(RADII) - 1),
)
plans = st.builds(lambda items: Plan(objects=tuple(items)), st.lists(planned_objects, min_size=1, max_size=MAX_OBJECTS))
GOOD = {"shape": "star", "colour": "red", "x": 3, "y": 4, "size": 2}


def one_line(error: pytest.ExceptionInfo[PlanError]) -> str:
    message = str(error.value)
    assert len(message.splitlines()) == 1
    return message


def planned(shape: Shape, colour: Colour = "red", x: int = 8, y: int = 8) -> PlannedObject:
    return PlannedObject(shape=shape, colour=colour, x=x, y=y, size=0)


@settings(deadline=None)
@given(plan=plans)
def test_plan_survives_a_file(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "plan.json"
    save_plan(plan, path)
    assert load_plan(path) == plan


def test_object_lies_inside_the_image_at_every_bin() -> None:
    for position in range(POSITION_BINS):
        item = planned("star", x=position, y=POSITION_BINS - 1 - position)
        assert item.centre == ((position + 0.5) / POSITION_BINS, 1 - (position + 0.5) / POSITION_BINS)
        assert item.radius == RADII[0]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"3",
        b"[]",
        b"{}",
        b'{"objects": null}',
        b'{"objects": []}',
        b'{"objects": {}}',
        b'{"objects": ["a star"]}',
        b"not json",
        b"<!DOCTYPE html><html></html>",
        b"\xff\xfe\x00\x01",
        b"[" * 50_000,
        b'{"objects": [' + b"9" * 5000 + b"]}",
        json.dumps({"objects": [GOOD] * (MAX_OBJECTS + 1)}).encode(),
        json.dumps({"objects": [GOOD], "seed": 3}).encode(),
        json.dumps({"objects": [GOOD]}).encode()[:-3],
        json.dumps({"objects": [GOOD]}).encode("utf-16"),
    ],
    ids=lambda content: repr(content[:24]),
)
def test_malformed_file_is_refused_in_one_line_that_names_it(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(content)
    with pytest.raises(PlanError) as caught:
        load_plan(path)
    assert str(path) in one_line(caught)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("shape", "hexagon"),
        ("shape", None),
        ("colour", "mauve"),
        ("colour", 3),
        ("x", POSITION_BINS),
        ("x", -1),
        ("x", 3.0),
        ("x", "3"),
        ("x", True),
        ("y", float("nan")),
        ("y", float("inf")),
        ("y", 10**30),
        ("size", len(RADII)),
        ("size", None),
        ("extra", 1),
    ],
)
def test_bad_field_is_named(field: str, value: object, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({"objects": [GOOD, GOOD | {field: value}]}), encoding="utf-8")
    with pytest.raises(PlanError) as caught:
        load_plan(path)
    assert f"objects.1.{field}: " in one_line(caught)


@pytest.mark.parametrize("field", GOOD)
def test_missing_field_is_named(field: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    rest = {name: value for name, value in GOOD.items() if name != field}
    path.write_text(json.dumps({"objects": [rest]}), encoding="utf-8")
    with pytest.raises(PlanError) as caught:
        load_plan(path)
    assert f"objects.0.{field}: Field required" in one_line(caught)


def test_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    with path.open("wb") as file:
        file.truncate(2**40)  # sparse: takes no space
    with pytest.raises(PlanError) as caught:
        load_plan(path)
    assert f"at most {MAX_PLAN_BYTES} bytes, got {2**40}" in one_line(caught)


@pytest.mark.parametrize("name", ["missing.json", "", "x" * 300])
def test_missing_file_folder_or_impossible_name_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(PlanError) as caught:
        load_plan(tmp_path / name)
    assert str(tmp_path) in one_line(caught)


@pytest.mark.parametrize(
    ("text", "objects"),
    [
        ("a star", [planned("star", "blue")]),
        ("a red star", [planned("star", "red")]),
        ("three stars", [planned("star"), planned("star", "blue"), planned("star")]),
        ("a star left of a circle", [planned("star", x=3), planned("circle", x=4)]),
        ("a star right of a circle", [planned("star", x=4), planned("circle", x=3)]),
        ("a star above a circle", [planned("star", y=3), planned("circle", y=4)]),
        ("a star below a circle", [planned("star", y=4), planned("circle", y=3)]),
    ],
)
def test_fitting_plan_passes(text: str, objects: list[PlannedObject]) -> None:
    check_plan(Plan(objects=tuple(objects)), parse(text))


@pytest.mark.parametrize(
    ("text", "objects", "told"),
    [
        ("a star", [planned("star"), planned("star")], "expected 1 objects for 'a star', got 2"),
        ("two stars", [planned("star")], "expected 2 objects for 'two stars', got 1"),
        ("a star", [planned("circle")], "object 0: expected any colour of star, got red circle"),
        ("a blue star", [planned("star")], "object 0: expected blue star, got red star"),
        ("a star and a cross", [planned("cross"), planned("star")], "object 0: expected any colour of star"),
        ("two red stars", [planned("star"), planned("star", "pink")], "object 1: expected red star, got pink star"),
        (
            "a star left of a circle",
            [planned("star", x=8), planned("circle", x=8)],
            "expected object 0 left of object 1",
        ),
        (
            "a star right of a circle",
            [planned("star", x=3), planned("circle", x=4)],
            "expected object 0 right of object 1",
        ),
        ("a star above a circle", [planned("star", y=4), planned("circle", y=3)], "expected object 0 above object 1"),
        ("a star below a circle", [planned("star", y=3), planned("circle", y=4)], "expected object 0 below object 1"),
    ],
)
def test_plan_that_does_not_fit_its_prompt_is_refused(text: str, objects: list[PlannedObject], told: str) -> None:
    with pytest.raises(PlanError) as caught:
        check_plan(Plan(objects=tuple(objects)), parse(text))
    assert told in one_line(caught)
