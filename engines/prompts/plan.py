"""Scene plans: where a prompt's objects are. A user can save a plan, edit it, and draw it."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mulo_sd.engines.files.paths import expanded
from mulo_sd.engines.files.text_files import TextFileError, read_text, strict_json
from mulo_sd.engines.files.whole_files import write_text_whole
from mulo_sd.engines.prompts.grammar import Prompt
from mulo_sd.engines.prompts.vocabulary import MAX_OBJECTS, POSITION_BINS, RADII, Colour, Shape, centre_from_bin

MAX_PLAN_BYTES = 64 * 1024
PositionBin = Annotated[int, Field(ge=0, lt=POSITION_BINS, strict=True)]
SizeBin = Annotated[int, Field(ge=0, lt=len(RADII), strict=True)]


class PlanError(ValueError):
    """A scene plan that cannot be read or does not fit its prompt; the message is one line for the user."""


class PlannedObject(BaseModel):
    """One object of a plan: centre (x to the right, y downwards) and size in bins."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: Shape
    colour: Colour
    x: PositionBin
    y: PositionBin
    size: SizeBin

    @property
    def centre(self) -> tuple[float, float]:
        """(x, y) as fractions of the image's side."""
        return centre_from_bin(self.x), centre_from_bin(self.y)

    @property
    def radius(self) -> float:
        """Radius as a fraction of the image's side."""
        return RADII[self.size]


class Plan(BaseModel):
    """A scene plan: the objects, in the order in which the prompt names them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    objects: Annotated[tuple[PlannedObject, ...], Field(min_length=1, max_length=MAX_OBJECTS)]


def relation_holds(relation: str, first: tuple[float, float], second: tuple[float, float], margin: float) -> bool:
    """Whether `first` lies left of, right of, above or below `second` by more than `margin` (centres as (x, y))."""
    offset = {
        "left of": second[0] - first[0],
        "right of": first[0] - second[0],
        "above": second[1] - first[1],
        "below": first[1] - second[1],
    }[relation]
    return offset > margin


def check_plan(plan: Plan, prompt: Prompt) -> None:
    """Check that a plan has the objects and the relation of its prompt.

    Raises:
        PlanError: it has another number of objects, another shape or colour, or a relation that does not hold.
    """
    if len(plan.objects) != len(prompt.objects):
        raise PlanError(
            f"plan: expected {len(prompt.objects)} objects for {prompt.text!r}, got {len(plan.objects)}; edit the plan"
        )
    for index, (planned, prompted) in enumerate(zip(plan.objects, prompt.objects, strict=True)):
        if planned.shape != prompted.shape or prompted.colour not in (None, planned.colour):
            expected = f"{prompted.colour or 'any colour of'} {prompted.shape}"
            raise PlanError(
                f"plan: object {index}: expected {expected}, got {planned.colour} {planned.shape}; edit the plan"
            )
    if prompt.relation is not None:
        first, second = (item.centre for item in plan.objects)
        if not relation_holds(prompt.relation, first, second, margin=0.0):
            raise PlanError(
                f"plan: expected object 0 {prompt.relation} object 1, got bins that say otherwise; edit them"
            )


def load_plan(path: Path | str) -> Plan:
    """Read a plan from a JSON file.

    Raises:
        PlanError: the file does not exist, is too large, is not JSON, or is not a plan.
    """
    path = expanded(path)
    try:
        text = read_text(path, MAX_PLAN_BYTES, "a plan")
        content = strict_json(text, with_constants=True)
    except TextFileError as error:
        raise PlanError(str(error)) from None
    except ValueError as error:
        reason = f": {error}" if str(error).startswith("it ") else ""
        raise PlanError(f"{path}: expected a plan as JSON, got another text{reason}") from None
    try:
        return Plan.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = " ".join(".".join(str(part) for part in first["loc"]).split())[:60] or "the whole file"
        raise PlanError(
            f"{path}: expected a plan, got: {field}: {first['msg']}; see docs/demo.md for the format"
        ) from None


def save_plan(plan: Plan, path: Path | str) -> None:
    """Write a plan as JSON, for editing.

    Raises:
        OSError: the file cannot be written.
    """
    write_text_whole(expanded(path), plan.model_dump_json(indent=2) + "\n")
