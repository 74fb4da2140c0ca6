"""The settings of a decode."""

from dataclasses import dataclass
from typing import Literal, get_args

Mode = Literal["ar", "zipar", "serial", "parallel", "exact"]
UpSampler = Literal["bicubic", "bilinear", "nearest", "latent"]
DownSampler = Literal["area", "bicubic", "latent"]
AcceptOn = Literal["processed", "raw"]
MODES: tuple[Mode, ...] = get_args(Mode)
# Modes in which the target alone decodes.
UNDRAFTED_MODES: tuple[Mode, ...] = ("ar", "zipar")


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
        """Check every field once.

        Raises:
            ValueError: a field is out of its range.
        """
        windows = ("window", "draft_window", "island_window", "exact_window")
        rules = (
            ("mode", self.mode in MODES, f"one of {', '.join(MODES)}"),
            ("accept_on", self.accept_on in get_args(AcceptOn), "'processed' or 'raw'"),
            ("up_sampler", self.up_sampler in get_args(UpSampler), f"one of {', '.join(get_args(UpSampler))}"),
            ("down_sampler", self.down_sampler in get_args(DownSampler), f"one of {', '.join(get_args(DownSampler))}"),
            ("guidance_scale", abs(self.guidance_scale) <= 100, "a number in -100..100"),
            ("temperature", 0 <= self.temperature <= 100, "a number in 0..100"),
            ("top_k", self.top_k >= 0, "at least 0"),
            ("top_p", 0 < self.top_p <= 1, "a number in (0, 1]"),
            ("drafters", _ascends(self.drafters), "numbers of models from 1 on, ascending"),
            ("tau", abs(self.tau) <= 1e9, "a finite number"),
            ("radius", self.radius >= 0, "at least 0"),
            ("radius_nats", 0 <= self.radius_nats <= 1e9, "a finite number from 0 on"),
            ("anchor", 0 <= self.anchor <= 1e3, "a number in 0..1000"),
            ("neighbours", self.neighbours >= 1, "at least 1"),
            ("draft_rows", self.draft_rows >= 1, "at least 1"),
            ("look_ahead", self.look_ahead >= 0, "at least 0"),
            *(
                (name, getattr(self, name) is None or getattr(self, name) >= 1, "at least 1 or None")
                for name in windows
            ),
        )
        for name, holds, expected in rules:
            if not holds:
                raise ValueError(f"{name}: expected {expected}, got {getattr(self, name)!r}")
        if self.mode == "exact" and self.accept_on != "processed":
            raise ValueError(f"accept_on: expected 'processed' in mode exact (DIST-2), got {self.accept_on!r}")

    @property
    def model_numbers(self) -> tuple[int, ...]:
        """The models that take part, the target first (CASCADE-1)."""
        return (0,) if self.mode in UNDRAFTED_MODES else (0, *self.drafters)


def _ascends(numbers: tuple[int, ...]) -> bool:
    return bool(numbers) and list(numbers) == sorted(set(numbers)) and numbers[0] >= 1
