"""The settings of a decode, checked once where they come in."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Mode = Literal["ar", "serial"]
# No grid or codebook is larger; a number beyond would only cost memory.
MAX_COUNT = 2**20
MAX_RADIUS = 1024
MODES: tuple[Mode, ...] = ("ar", "serial")


class SettingsError(ValueError):
    """A setting out of its range; its message is one line for the user."""


class Settings(BaseModel):
    """What a decode may choose; names and meaning as in docs/semantics.md and `reference.settings`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Mode = "serial"
    guidance_scale: Annotated[float, Field(ge=-100, le=100)] = 1.5
    temperature: Annotated[float, Field(ge=0, le=100)] = 1.0
    top_k: Annotated[int, Field(ge=0, le=MAX_COUNT)] = 0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    tau: Annotated[float, Field(ge=-1e9, le=1e9)] = 0.1
    radius: Annotated[int, Field(ge=0, le=MAX_RADIUS)] = 1
    neighbours: Annotated[int, Field(ge=1, le=MAX_COUNT)] = 16
    draft_rows: Annotated[int, Field(ge=1, le=MAX_COUNT)] = 4
    look_ahead: Annotated[int, Field(ge=0, le=MAX_COUNT)] = 1
    refresh: bool = False
    accept_on: Literal["processed", "raw"] = "processed"

    def changed(self, **changes: object) -> "Settings":
        """Return these settings with some fields changed; None leaves a field as it is.

        Raises:
            SettingsError: a field is unknown or out of its range.
        """
        given = {name: value for name, value in changes.items() if value is not None}
        try:
            return Settings.model_validate(self.model_dump() | given)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            got = first.get("input")
            raise SettingsError(f"{name}: {first['msg']}, got {got!r}; see docs/semantics.md") from None
