"""The figures that each world's claims have to reach."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mulo_sd.conformance.study.confirm import CELLS
from mulo_sd.conformance.study.statistics import Estimate


@dataclass(frozen=True)
class Margin:
    """How far below AR a score may lie.

    Attributes:
        share: In 0..1.
        by: What must not lie farther below: the difference as it was measured, or the lower end of its 95% interval.
    """

    share: float
    by: Literal["lower 95% bound", "as measured"]

    def allows(self, difference: Estimate) -> bool:
        """Whether a score's difference to AR's lies within it."""
        return (difference.value if self.by == "as measured" else difference.low) >= -self.share

    @property
    def text(self) -> str:
        return f"no more than {100 * self.share:g} points below AR ({self.by})"


@dataclass(frozen=True)
class Goals:
    """What is claimed on a world.

    Attributes:
        passes: Of all models, that the default takes at most.
        margin: Of the default.
        target_passes: Of the target alone; None where nothing is claimed of them.
        rejected: Least and largest share of the draft that the default rejects; None likewise.
        gains: Widths of sweeps, and of how many passes of one token each pass has to take the place at least.
        no_limit: Passes of all models by sweeps without a limit, and their margin.
        few: By few sweeps, likewise.
    """

    passes: float
    margin: Margin
    target_passes: float | None
    rejected: tuple[float, float] | None
    gains: tuple[tuple[int, float], ...]
    no_limit: tuple[float, Margin]
    few: tuple[float, Margin]


GOALS: Mapping[str, Goals] = {
    "demo": Goals(
        passes=CELLS / 4,
        margin=Margin(0.03, "lower 95% bound"),
        target_passes=CELLS / 6,
        rejected=(0.03, 0.20),
        gains=((16, 1.0), (64, 6.5), (256, 10.0)),
        no_limit=(60, Margin(0.01, "lower 95% bound")),
        few=(24, Margin(0.03, "lower 95% bound")),
    ),
    # AR itself may fail one prompt in seven there, so that more pairs differ: an interval of 960 is some 4 points wide.
    "pictograms": Goals(
        passes=CELLS / 12,
        margin=Margin(0.02, "as measured"),
        target_passes=None,
        rejected=None,
        gains=((16, 1.0), (64, 4.0), (256, 1.0)),
        no_limit=(CELLS / 12, Margin(0.02, "as measured")),
        few=(24, Margin(0.03, "as measured")),
    ),
}
