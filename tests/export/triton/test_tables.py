"""The tables of docs/triton.md are those of the code."""

import re

from mulo_sd.engines.ingress.options import EngineOptions
from mulo_sd.engines.triton.fields import INPUTS, SETTINGS_FIELDS, outputs
from tests.test_help import options_of, parser_of
from tests.triton.page import section


def rows(title: str) -> list[list[str]]:
    """Return the rows of a section's tables."""
    lines = [line for line in section(title).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_the_page_names_every_tensor() -> None:
    told = [row[:3] for row in rows("Inputs and outputs") if row[0].startswith("`")]
    shapes: dict[tuple[int, ...], str] = {(128, 128, 3): "[height, width, 3]"}
    declared = [
        [f"`{one.name}`", one.kind.removeprefix("TYPE_"), shapes.get(one.shape, f"[{one.shape[0]}]")]
        for one in (*INPUTS, *outputs(128, 128))
    ]
    assert told == declared
    optional = {row[0].strip("`") for row in rows("Inputs and outputs") if row[3].startswith("optional")}
    assert optional == {one.name for one in INPUTS if one.optional}
    settings = next(row[3] for row in rows("Inputs and outputs") if row[0] == "`SETTINGS`")
    assert all(f"`{name}`" in settings for name in SETTINGS_FIELDS)


def test_the_page_names_every_option_with_its_default() -> None:
    told = {name: row[1] for row in rows("The command") for name in re.findall(r"--([a-z-]+)", row[0])}
    assert {f"--{name}" for name in told} == options_of("export.triton.__main__") - {"-h", "--help"}
    for cells in rows("The command"):
        names = [name.replace("-", "_") for name in re.findall(r"--([a-z-]+)", cells[0])]
        numbers = [getattr(EngineOptions(), name) for name in names if name in EngineOptions.model_fields]
        given = [f"{number:g}" for number in numbers if isinstance(number, int | float)]
        if given:
            assert cells[1].split(", ") == given
    parser = parser_of("export.triton.__main__")
    assert [parser.get_default(name) for name in ("instances", "model_version", "backend")] == [1, 1, "ort"]
