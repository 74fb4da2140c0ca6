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
    """

    name: str
    label: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    drafters: int = 0


ENGINE_MODES: tuple[BenchMode, ...] = (
    BenchMode("ar", "engine AR", {"mode": "ar"}),
    BenchMode("zipar", "ZipAR", {"mode": "zipar"}),
    BenchMode("serial", "MuLo-SD serial, one drafter", {"mode": "serial", "drafters": (1,)}, 1),
    BenchMode("serial-cascade", "MuLo-SD serial cascade", {"mode": "serial", "drafters": (1, 2)}, 2),
    BenchMode("parallel", "MuLo-SD parallel, one drafter", {"mode": "parallel", "drafters": (1,)}, 1),
    BenchMode("cascade", "MuLo-SD cascade", {"mode": "parallel", "drafters": (1, 2)}, 2),
    BenchMode("exact", "exact", {"mode": "exact"}, 1),
)
MODE_NAMES = (EAGER, *(mode.name for mode in ENGINE_MODES))


def modes_of(drafters: int, chosen: list[str] | None = None) -> list[BenchMode]:
    """Return the engine's modes that so many drafters allow, of those asked for; None asks for all."""
    return [mode for mode in ENGINE_MODES if mode.drafters <= drafters and (chosen is None or mode.name in chosen)]
