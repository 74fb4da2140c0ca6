"""What is asked of published shapes, and what was measured of them; without PyTorch, for tables and figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mulo_sd.conformance.bench.spread import Spread
from mulo_sd.engines.bundle.contract import Precision

NOTE = "latency at a declared acceptance rate; the weights are random: nothing is said about quality"


@dataclass(frozen=True)
class ShapeOptions:
    """How shapes are measured.

    Attributes:
        device: As PyTorch names it.
        precision: Of weights, keys and values.
        kernels: Of the PyTorch backend.
        acceptances: Rates to replay.
        correlation_length: Of the replayed field, in cells.
        repeat: Images of each mode and rate; AR takes two at most, since it is long.
        seed: Of weights, condition, fields and samples.
        modes: Asked for; None asks for all.
        quick: Fewer passes for the floors.
        tokens: Of a pass of the target, by mode, where others than the demo's are declared.
    """

    device: str
    precision: Precision
    kernels: str
    acceptances: Sequence[float]
    correlation_length: float
    repeat: int
    seed: int
    modes: list[str] | None
    quick: bool
    tokens: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ShapeRow:
    """A line of a shape's table: one mode at one rate of acceptance.

    Attributes:
        acceptance: Declared; None where nothing is drafted.
        accepted: Share of the target's draft tokens that were accepted.
        peak_bytes: Of the device's memory, weights included; None on a CPU.
    """

    mode: str
    label: str
    drafters: tuple[int, ...]
    acceptance: float | None
    accepted: float | None
    seconds: Spread
    over_engine_ar: float | None
    over_eager: float | None
    nfe_target: int
    nfe_drafter: int
    host_share: float | None
    host_ms: float | None
    peak_bytes: float | None

    def to_json(self) -> dict[str, Any]:
        """Return it by name."""
        return vars(self) | {"seconds": self.seconds.to_json(), "drafters": list(self.drafters)}
