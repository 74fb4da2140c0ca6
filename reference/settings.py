"""The settings of a decode."""

from dataclasses import dataclass
from typing import Literal

Mode = Literal["ar", "serial"]
MODES: tuple[Mode, ...] = ("ar", "serial")


@dataclass(frozen=True)
class Settings:
    """What a decode may choose; every field is a setting of docs/semantics.md.

    Attributes:
        mode: "ar" (MODE-AR) or "serial" (MODE-SERIAL).
        guidance_scale: DIST-1; 1 is no guidance.
        temperature: DIST-1; 0 is greedy.
        top_k: DIST-1; 0 keeps all.
        top_p: DIST-1; 1 keeps all.
        tau: ACCEPT-1, the acceptance threshold.
        radius: LOCAL-1, in cells.
        neighbours: POOL-1, the k of B_k, the token itself included.
        draft_rows: DRAFT-1, low-resolution rows a cycle.
        look_ahead: DRAFT-1, further low-resolution rows drafted as context of the up-sampler only.
        refresh: KV-4.
        accept_on: DIST-2, "processed" or "raw".
    """

    mode: Mode = "serial"
    guidance_scale: float = 1.5
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    tau: float = 0.1
    radius: int = 1
    neighbours: int = 16
    draft_rows: int = 4
    look_ahead: int = 1
    refresh: bool = False
    accept_on: Literal["processed", "raw"] = "processed"

    def __post_init__(self) -> None:
        """Check every field once.

        Raises:
            ValueError: a field is out of its range.
        """
        rules = (
            ("mode", self.mode in MODES, f"one of {', '.join(MODES)}"),
            ("accept_on", self.accept_on in ("processed", "raw"), "'processed' or 'raw'"),
            ("guidance_scale", abs(self.guidance_scale) <= 100, "a number in -100..100"),
            ("temperature", 0 <= self.temperature <= 100, "a number in 0..100"),
            ("top_k", self.top_k >= 0, "at least 0"),
            ("top_p", 0 < self.top_p <= 1, "a number in (0, 1]"),
            ("tau", abs(self.tau) <= 1e9, "a finite number"),
            ("radius", self.radius >= 0, "at least 0"),
            ("neighbours", self.neighbours >= 1, "at least 1"),
            ("draft_rows", self.draft_rows >= 1, "at least 1"),
            ("look_ahead", self.look_ahead >= 0, "at least 0"),
        )
        for name, holds, expected in rules:
            if not holds:
                raise ValueError(f"{name}: expected {expected}, got {getattr(self, name)!r}")
