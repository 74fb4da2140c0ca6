"""The settings of a decode, checked once where they come in."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, ValidationInfo, model_validator

from mulo_sd.engines.distribution import Distribution
from mulo_sd.engines.numbers import SettingsError, real_number, truth, whole_number

__all__ = ["MODES", "UNDRAFTED_MODES", "WINDOWS", "DownSampler", "Mode", "Settings", "SettingsError", "UpSampler"]

Mode = Literal["ar", "zipar", "serial", "parallel", "exact"]
UpSampler = Literal["bicubic", "bilinear", "nearest", "latent"]
DownSampler = Literal["area", "bicubic", "latent"]
# Smaller ones overflow float32 in the division; published code takes this in their stead, and we refuse them.
MIN_TEMPERATURE = 1e-5
# No grid or codebook is larger; a number beyond would only cost memory.
MAX_COUNT = 2**20
MAX_RADIUS = 1024
MAX_DRAFTERS = 8
MODES: tuple[Mode, ...] = get_args(Mode)
# Modes in which the target alone decodes.
UNDRAFTED_MODES: tuple[Mode, ...] = ("ar", "zipar")
# Here None is a value, infinity, and not "leave it as it is".
WINDOWS = ("window", "draft_window", "island_window", "exact_window")


def _name(info: ValidationInfo) -> str:
    return info.field_name or "setting"


def _whole(least: int, most: int) -> BeforeValidator:
    return BeforeValidator(lambda value, info: whole_number(_name(info), value, least, most))


def _real(least: float, most: float) -> BeforeValidator:
    return BeforeValidator(lambda value, info: real_number(_name(info), value, least, most))


def _window(value: object, info: ValidationInfo) -> int | None:
    return None if value is None else whole_number(_name(info), value, 1, MAX_COUNT)


def _temperature(value: object, info: ValidationInfo) -> float:
    number = real_number(_name(info), value, 0, 100)
    if 0 < number < MIN_TEMPERATURE:
        raise SettingsError(f"temperature: expected 0 (greedy) or a number in 1e-05..100, got {value!r:.80}")
    return number


def _share(value: object, info: ValidationInfo) -> float:
    number = real_number(_name(info), value, 0, 1)
    if number == 0:
        raise SettingsError(f"{_name(info)}: expected a number above 0, at most 1, got {value!r:.80}")
    return number


def _drafters(value: object) -> tuple[int, ...]:
    """Return the numbers of models: a single number is one drafter."""
    if isinstance(value, Iterable) and not isinstance(value, str | bytes) and getattr(value, "ndim", 1) == 1:
        # One more than there may be, so that no endless iterable is read.
        listed = [number for number, _ in zip(value, range(MAX_DRAFTERS + 1), strict=False)]
        found = tuple(whole_number(f"drafters.{at}", number, 1, MAX_DRAFTERS) for at, number in enumerate(listed))
    else:
        found = (whole_number("drafters", value, 1, MAX_DRAFTERS),)
    if not found or list(found) != sorted(set(found)):
        raise SettingsError(f"drafters: expected numbers of models from 1 on, ascending, got {value!r:.80}")
    return found


Window = Annotated[int | None, BeforeValidator(_window)]
Count = Annotated[int, _whole(0, MAX_COUNT)]
CountFromOne = Annotated[int, _whole(1, MAX_COUNT)]
Flag = Annotated[bool, BeforeValidator(lambda value, info: truth(_name(info), value))]


class Settings(BaseModel):
    """What a decode may choose; names and meaning as in docs/semantics.md and `reference.settings`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Mode = "serial"
    guidance_scale: Annotated[float, _real(-100, 100)] = 1.5
    temperature: Annotated[float, BeforeValidator(_temperature)] = 1.0
    top_k: Count = 0
    top_p: Annotated[float, BeforeValidator(_share)] = 1.0
    drafters: Annotated[tuple[int, ...], BeforeValidator(_drafters)] = (1,)
    up_sampler: UpSampler = "bicubic"
    down_sampler: DownSampler = "area"
    tau: Annotated[float, _real(-1e9, 1e9)] = 0.1
    radius: Annotated[int, _whole(0, MAX_RADIUS)] = 1
    radius_nats: Annotated[float, _real(0, 1e9)] = 0.0
    anchor: Annotated[float, _real(0, 1e3)] = 0.0
    neighbours: CountFromOne = 16
    draft_rows: CountFromOne = 4
    look_ahead: Count = 1
    refresh: Flag = False
    accept_on: Literal["processed", "raw"] = "processed"
    window: Window = 4
    adaptive_window: Flag = False
    draft_window: Window = 4
    islands: Flag = True
    island_window: Window = 4
    exact_window: Window = 16

    @model_validator(mode="after")
    def _exact_is_processed(self) -> Self:
        if self.mode == "exact" and self.accept_on != "processed":
            raise ValueError("accept_on: expected 'processed' in mode exact (DIST-2)")
        return self

    @property
    def distribution(self) -> Distribution:
        """What tokens are drawn from (DIST-1)."""
        return Distribution(self.guidance_scale, self.temperature, self.top_k, self.top_p)

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
            raise SettingsError(f"{_message(error)}; see docs/semantics.md") from None


# Names by which other places know a setting.
_OTHER_NAMES = {"guidance": "guidance_scale", "cfg_scale": "guidance_scale", "cfg": "guidance_scale"}


def _message(error: ValidationError) -> str:
    """Return the first of pydantic's messages in one line that names the setting."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "value_error":  # one of ours, which names it
        return first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        meant = _OTHER_NAMES.get(name) or next(iter(get_close_matches(name, Settings.model_fields, n=1)), None)
        hint = f" (perhaps {meant})" if meant else ""
        return f"{name}: expected the name of a setting{hint}, got {first.get('input')!r:.80}"
    return f"{name}: {first['msg']}, got {first.get('input')!r:.80}"
