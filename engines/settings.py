"""The settings of a decode, checked once where they come in."""

from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

Mode = Literal["ar", "zipar", "serial", "parallel", "exact"]
UpSampler = Literal["bicubic", "bilinear", "nearest", "latent"]
DownSampler = Literal["area", "bicubic", "latent"]
# No grid or codebook is larger; a number beyond would only cost memory.
MAX_COUNT = 2**20
MAX_RADIUS = 1024
MAX_DRAFTERS = 8
MODES: tuple[Mode, ...] = get_args(Mode)
# Modes in which the target alone decodes.
UNDRAFTED_MODES: tuple[Mode, ...] = ("ar", "zipar")
Window = Annotated[int, Field(ge=1, le=MAX_COUNT)] | None
# Here None is a value, infinity, and not "leave it as it is".
WINDOWS = ("window", "draft_window", "island_window", "exact_window")


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
    drafters: Annotated[tuple[Annotated[int, Field(ge=1, le=MAX_DRAFTERS)], ...], Field(min_length=1)] = (1,)
    up_sampler: UpSampler = "bicubic"
    down_sampler: DownSampler = "area"
    tau: Annotated[float, Field(ge=-1e9, le=1e9)] = 0.1
    radius: Annotated[int, Field(ge=0, le=MAX_RADIUS)] = 1
    radius_nats: Annotated[float, Field(ge=0, le=1e9)] = 0.0
    anchor: Annotated[float, Field(ge=0, le=1e3)] = 0.0
    neighbours: Annotated[int, Field(ge=1, le=MAX_COUNT)] = 16
    draft_rows: Annotated[int, Field(ge=1, le=MAX_COUNT)] = 4
    look_ahead: Annotated[int, Field(ge=0, le=MAX_COUNT)] = 1
    refresh: bool = False
    accept_on: Literal["processed", "raw"] = "processed"
    window: Window = 4
    adaptive_window: bool = False
    draft_window: Window = 4
    islands: bool = True
    island_window: Window = 4
    exact_window: Window = 16

    @field_validator("drafters")
    @classmethod
    def _ascend(cls, drafters: tuple[int, ...]) -> tuple[int, ...]:
        if list(drafters) != sorted(set(drafters)):
            raise ValueError("expected numbers of models from 1 on, ascending")
        return drafters

    @model_validator(mode="after")
    def _exact_is_processed(self) -> Self:
        if self.mode == "exact" and self.accept_on != "processed":
            raise ValueError("accept_on: expected 'processed' in mode exact (DIST-2)")
        return self

    @property
    def model_numbers(self) -> tuple[int, ...]:
        """The models that take part, the target first (CASCADE-1)."""
        return (0,) if self.mode in UNDRAFTED_MODES else (0, *self.drafters)

    def changed(self, **changes: object) -> "Settings":
        """Return these settings with some fields changed; None leaves a field as it is, but makes a window infinite.

        Raises:
            SettingsError: a field is unknown or out of its range.
        """
        given = {name: value for name, value in changes.items() if value is not None or name in WINDOWS}
        try:
            return Settings.model_validate(self.model_dump() | given)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            got = f", got {first.get('input')!r}" if name else ""  # a rule of several fields has no input of its own
            message = first["msg"].removeprefix("Value error, ")
            raise SettingsError(f"{name}{': ' if name else ''}{message}{got}; see docs/semantics.md") from None
