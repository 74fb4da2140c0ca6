"""What AR by sweeps would take of a published shape: at declared rates of guesses that come true.

Guesses of random weights never come true, so none is made: the passes follow from the rates, and the seconds from what
a pass of so many tokens takes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd.conformance.bench.floors import Machine, ModelSize, PassSize, floor_of
from mulo_sd.conformance.bench.passes import PassRow
from mulo_sd.engines.rules.widths import DECIDED, LIKE_THE_DEMO

WIDTHS = (1, 4, 16, 64, 256)
# Of the rates that were measured on the demo.
SHARES = (1.0, 0.5, 0.25)
NOTE = (
    "declared: every guess comes true as often as on the demo at its distance from the decided cells, or a half or a "
    "quarter as often; all passes are those at full caches, as in the table above"
)


def rates_by_distance() -> NDArray[np.float64]:
    """Return how often the demo's guess comes true where all before it did, Float64[255], by distance from 1 on."""
    decided = np.diff(DECIDED[LIKE_THE_DEMO])  # chances that the n-th cell of a sweep is decided
    rates: NDArray[np.float64] = np.minimum(decided[1:] / decided[:-1], 1.0)
    return rates


def decided_by_sweep(width: int, share: float) -> float:
    """Return how many cells a sweep decides on average.

    Args:
        width: Cells that it samples.
        share: Of the demo's rates, 0..1.
    """
    chances = np.cumprod(np.concatenate([[1.0], share * rates_by_distance()]))
    return float(chances[:width].sum())


@dataclass(frozen=True)
class SweepRow:
    """AR by sweeps of one width at one rate.

    Attributes:
        width: Cells of a sweep.
        share: Of the demo's rates.
        passes: Expected, the prefill's included.
        floor_seconds: Of all of them, at full caches.
        measured_seconds: By measured passes of the nearest numbers of tokens; None where there are none.
        gain: Of one token a pass, by floors.
        measured_gain: The same by measured passes.
    """

    width: int
    share: float
    passes: float
    floor_seconds: float
    measured_seconds: float | None
    gain: float
    measured_gain: float | None

    def to_json(self) -> dict[str, Any]:
        """Return it by name."""
        return dict(vars(self))


def measured_seconds(rows: Sequence[PassRow], width: int) -> float | None:
    """Return the seconds of a pass of some width, between those that were measured, at the fullest caches."""
    fullest = {row.size.fed: row.seconds for row in sorted(rows, key=lambda row: row.size.slots)}
    if len(fullest) < 2:
        return None
    fed = sorted(fullest)
    return float(np.exp(np.interp(np.log(width), np.log(fed), np.log([fullest[number] for number in fed]))))


def sweep_rows(
    model: ModelSize, cells: int, prefix: int, batch: int, machine: Machine, precision: str, measured: Sequence[PassRow]
) -> list[SweepRow]:
    """Return what AR by sweeps would take, a row for each width and rate; none where the machine's rate is not known.

    Args:
        model: The target's size.
        cells: Of its grid.
        prefix: Tokens of a condition.
        batch: Rows; 2 with guidance.
        machine: For the floors.
        precision: Of the bundle.
        measured: Passes of the same target.
    """

    def seconds(width: int, share: float) -> tuple[float, float, float | None] | None:
        floor = floor_of(machine, model, PassSize(batch, width, prefix + cells), precision)
        if floor is None:
            return None
        sweeps, taken = cells / decided_by_sweep(width, share), measured_seconds(measured, width)
        return sweeps, sweeps * floor.seconds, None if taken is None else sweeps * taken

    rows = []
    one_by_one = seconds(1, 1.0)
    for share in SHARES:
        for width in (width for width in WIDTHS if width <= cells):
            this = seconds(width, share)
            if this is None or one_by_one is None:
                return []
            gain = None if this[2] is None or one_by_one[2] is None else one_by_one[2] / this[2]
            rows.append(SweepRow(width, share, 1 + this[0], this[1], this[2], one_by_one[1] / this[1], gain))
    return rows
