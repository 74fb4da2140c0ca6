"""What is compared: ways to decode, by the names of the tables."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Eager PyTorch, one token a pass: the reference's for the demo, the published code's for published shapes.
EAGER = "eager"


@dataclass(frozen=True)
class BenchMode:
    """A way to decode: the bundle's own settings with some changed.

    Attributes:
        name: In the tables and for --modes.
        label: In words.
        changes: Of the settings.
        drafters: How many the bundle needs.
        guesses: Whether its passes depend on guesses that come true, of which random weights say nothing.
        rated: Whether they depend on how many draft tokens are accepted.
    """

    name: str
    label: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    drafters: int = 0
    guesses: bool = False
    rated: bool = True


# As the demo's preset "passes"; by name, since any bundle is compared.
_FEW_PASSES = {
    "mode": "parallel",
    "drafters": (1, 2),
    "radius": 1,
    "anchor": 16.0,
    "draft_by": "sweeps",
    "draft_sweeps": 6,
    "resample_by": "sweeps",
    "sweeps": 7,
    "sweep_width": None,
}

ENGINE_MODES: tuple[BenchMode, ...] = (
    BenchMode("ar", "engine AR, one token a pass", {"mode": "ar", "sweep_width": 1}),
    BenchMode("ar-sweeps", "engine AR by sweeps", {"mode": "ar", "sweep_width": "auto"}, guesses=True),
    BenchMode("zipar", "ZipAR", {"mode": "zipar"}),
    BenchMode("serial", "MuLo-SD serial, one drafter", {"mode": "serial", "drafters": (1,)}, 1),
    BenchMode("serial-cascade", "MuLo-SD serial cascade", {"mode": "serial", "drafters": (1, 2)}, 2),
    BenchMode("parallel", "MuLo-SD parallel, one drafter", {"mode": "parallel", "drafters": (1,)}, 1),
    BenchMode("cascade", "MuLo-SD cascade", {"mode": "parallel", "drafters": (1, 2)}, 2),
    BenchMode("ssd", "SSD's rounds, one drafter", {"mode": "ssd", "drafters": (1,)}, 1, rated=False),
    BenchMode("sweeps", "MuLo-SD cascade by sweeps", _FEW_PASSES, 2, guesses=True),
    BenchMode("exact", "exact, from a draft", {"mode": "exact", "sweep_width": "auto"}, 1, guesses=True),
)
MODE_NAMES = (EAGER, *(mode.name for mode in ENGINE_MODES))


def modes_of(drafters: int, chosen: list[str] | None = None) -> list[BenchMode]:
    """Return the engine's modes that so many drafters allow, of those asked for; None asks for all."""
    return [mode for mode in ENGINE_MODES if mode.drafters <= drafters and (chosen is None or mode.name in chosen)]
