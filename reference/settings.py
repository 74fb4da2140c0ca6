"""The settings of a decode."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from mulo_sd.reference.numbers import is_boolean, real_number, whole_number

Mode = Literal["ar", "zipar", "serial", "parallel", "exact"]
UpSampler = Literal["bicubic", "bilinear", "nearest", "latent"]
DownSampler = Literal["area", "bicubic", "latent"]
AcceptOn = Literal["processed", "raw"]
MODES: tuple[Mode, ...] = get_args(Mode)
# Modes in which the target alone decodes.
UNDRAFTED_MODES: tuple[Mode, ...] = ("ar", "zipar")
# Smaller ones overflow float32 in the division; published code takes this in their stead, and we refuse them.
MIN_TEMPERATURE = 1e-5
WINDOWS = ("window", "draft_window", "island_window", "exact_window")
FLAGS = ("refresh", "adaptive_window", "islands")
_CHOICES: dict[str, tuple[str, ...]] = {
    "mode": MODES,
    "accept_on": get_args(AcceptOn),
    "up_sampler": get_args(UpSampler),
    "down_sampler": get_args(DownSampler),
}
# The range of every number, and the smallest of every whole one.
_REAL: dict[str, tuple[float, float]] = {
    "guidance_scale": (-100, 100),
    "temperature": (0, 100),
    "top_p": (0, 1),
    "tau": (-1e9, 1e9),
    "radius_nats": (0, 1e9),
    "anchor": (0, 1e3),
}
_WHOLE = {"top_k": 0, "radius": 0, "neighbours": 1, "draft_rows": 1, "look_ahead": 0}


@dataclass(frozen=True)
class Settings:
    """What a decode may choose; every field is a setting of docs/semantics.md.

    Attributes:
        mode: "ar", "zipar", "serial", "parallel" or "exact" (MODE-AR and so on).
        guidance_scale: DIST-1; 1 is no guidance.
        temperature: DIST-1; 0 is greedy.
        top_k: DIST-1; 0 keeps all.
        top_p: DIST-1; 1 keeps all.
        drafters: CASCADE-1, the numbers of the models that draft, the one next to the target first.
        up_sampler: SCALE-1, a resize filter of the pixel-space up-sampler, or "latent".
        down_sampler: SCALE-2, likewise.
        tau: ACCEPT-1, the acceptance threshold.
        radius: LOCAL-1, in cells.
        radius_nats: LOCAL-3, nats of mean entropy for each cell of radius; 0 is the same radius everywhere.
        anchor: ANCHOR-1, how strongly resampled tokens are drawn towards their draft, in nats; 0 is the paper's rule.
        neighbours: POOL-1, the k of B_k, the token itself included.
        draft_rows: DRAFT-1, rows of the first drafter a cycle (serial, exact).
        look_ahead: DRAFT-1, further low-resolution rows drafted as context of the up-sampler only (serial, exact).
        refresh: KV-4.
        accept_on: DIST-2, "processed" or "raw".
        window: SCHED-1, of MODE-ZIPAR; None is infinite.
        adaptive_window: SCHED-5, in MODE-ZIPAR.
        draft_window: SCHED-1, of the coarsest drafter.
        islands: SCHED-2, in MODE-PARALLEL.
        island_window: SCHED-1, of resampling in MODE-PARALLEL.
        exact_window: MODE-EXACT, how many cells a verification scores at most; None is the rest of the window.
    """

    mode: Mode = "serial"
    guidance_scale: float = 1.5
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    drafters: tuple[int, ...] = (1,)
    up_sampler: UpSampler = "bicubic"
    down_sampler: DownSampler = "area"
    tau: float = 0.1
    radius: int = 1
    radius_nats: float = 0.0
    anchor: float = 0.0
    neighbours: int = 16
    draft_rows: int = 4
    look_ahead: int = 1
    refresh: bool = False
    accept_on: AcceptOn = "processed"
    window: int | None = 4
    adaptive_window: bool = False
    draft_window: int | None = 4
    islands: bool = True
    island_window: int | None = 4
    exact_window: int | None = 16

    def __post_init__(self) -> None:
        """Check every field once; numbers of other libraries become Python's.

        Raises:
            ValueError: a field is out of its range.
        """
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if not isinstance(value, str) or value not in choices:
                raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")
        for name, (least, most) in _REAL.items():
            object.__setattr__(self, name, real_number(name, getattr(self, name), least, most))
        for name, smallest in _WHOLE.items():
            object.__setattr__(self, name, whole_number(name, getattr(self, name), smallest))
        for name in WINDOWS:
            if getattr(self, name) is not None:
                object.__setattr__(self, name, whole_number(name, getattr(self, name), 1))
        for name in FLAGS:
            if not is_boolean(getattr(self, name)):
                raise ValueError(f"{name}: expected True or False, got {getattr(self, name)!r}")
            object.__setattr__(self, name, bool(getattr(self, name)))
        object.__setattr__(self, "drafters", _ascending(self.drafters))
        if 0 < self.temperature < MIN_TEMPERATURE:
            raise ValueError(
                f"temperature: expected 0 (greedy) or a number in {MIN_TEMPERATURE:g}..100, got {self.temperature!r}"
            )
        if self.top_p == 0:
            raise ValueError(f"top_p: expected a number above 0, at most 1, got {self.top_p!r}")
        if self.mode == "exact" and self.accept_on != "processed":
            raise ValueError(f"accept_on: expected 'processed' in mode exact (DIST-2), got {self.accept_on!r}")

    @property
    def model_numbers(self) -> tuple[int, ...]:
        """The models that take part, the target first (CASCADE-1)."""
        return (0,) if self.mode in UNDRAFTED_MODES else (0, *self.drafters)


def _ascending(drafters: object) -> tuple[int, ...]:
    """Return the numbers of models in a tuple; a single number is one drafter."""
    listed = isinstance(drafters, Iterable) and not isinstance(drafters, str | bytes)
    numbers = list(drafters) if listed and getattr(drafters, "ndim", 1) == 1 else [drafters]  # type: ignore[call-overload]
    found = tuple(whole_number("drafters", number, 1) for number in numbers)
    if not found or list(found) != sorted(set(found)):
        raise ValueError(f"drafters: expected numbers of models from 1 on, ascending, got {drafters!r}")
    return found
