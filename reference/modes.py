"""The modes of a decode: one entry tells a mode from the others; the twin of `engines.modes`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

Mode = Literal["ar", "zipar", "serial", "parallel", "exact"]


class Verification(Enum):
    """How the target verifies a proposal; the drafters above the coarsest one always verify locally."""

    LOCAL = "judged in one pass, resampled around what is rejected (VERIFY-1 to LOCAL-3)"
    EXACT = "judged in raster order, so that each token has the target's own distribution (MODE-EXACT)"


@dataclass(frozen=True)
class Drawing:
    """How a grid without a draft is drawn (SCHED-1, SCHED-5), by names of settings.

    Attributes:
        window: How far the row above must be ahead; None is infinite, raster order.
        adaptive: Whether rows open when their first token is settled; None never.
    """

    window: str | None = None
    adaptive: str | None = None


@dataclass(frozen=True)
class Correction:
    """How the cells around rejections are resampled (SCHED-1, SCHED-2), by names of settings.

    Attributes:
        window: How far the row above must be ahead; None is infinite, raster order.
        by_island: Whether islands are resampled at the same time; None never.
    """

    window: str | None = None
    by_island: str | None = None


@dataclass(frozen=True)
class DecodingMode:
    """A mode.

    Attributes:
        rule: Of docs/semantics.md.
        purpose: In one line, for help and documentation.
        coarsest: How the coarsest grid is drawn: the target's own where nothing is drafted.
        verification: Of the target; None where nothing is drafted.
        correction: Of what is rejected.
        by_rows: Whether a cycle drafts `draft_rows` rows, and not the whole image.
        demands: The one value that a setting may have.
    """

    rule: str
    purpose: str
    coarsest: Drawing
    verification: Verification | None = None
    correction: Correction = Correction()
    by_rows: bool = False
    demands: Mapping[str, str] = field(default_factory=dict)

    @property
    def drafts(self) -> bool:
        """Whether drafters take part."""
        return self.verification is not None

    @property
    def is_exact(self) -> bool:
        """Whether the target verifies exactly."""
        return self.verification is Verification.EXACT

    @property
    def is_local(self) -> bool:
        """Whether the target verifies locally."""
        return self.verification is Verification.LOCAL


MODES: Mapping[Mode, DecodingMode] = {
    "ar": DecodingMode(
        rule="MODE-AR",
        purpose="one token a pass",
        coarsest=Drawing(),
    ),
    "zipar": DecodingMode(
        rule="MODE-ZIPAR",
        purpose="rows overlap: a row starts when the one above is `--window` tokens ahead",
        coarsest=Drawing(window="window", adaptive="adaptive_window"),
    ),
    "serial": DecodingMode(
        rule="MODE-SERIAL",
        purpose="MuLo-SD as first published: a few rows are drafted, verified and resampled in raster order",
        coarsest=Drawing(window="draft_window"),
        verification=Verification.LOCAL,
        by_rows=True,
    ),
    "parallel": DecodingMode(
        rule="MODE-PARALLEL",
        purpose="MuLo-SD's second version: the whole image is drafted and verified at once, islands of rejections are "
        "resampled at the same time",
        coarsest=Drawing(window="draft_window"),
        verification=Verification.LOCAL,
        correction=Correction(window="island_window", by_island="islands"),
    ),
    "exact": DecodingMode(
        rule="MODE-EXACT",
        purpose="lossless: the target's own distribution, whatever the draft",
        coarsest=Drawing(window="draft_window"),
        verification=Verification.EXACT,
        by_rows=True,
        demands={"accept_on": "processed"},
    ),
}
# Those in which the target alone decodes.
UNDRAFTED_MODES: tuple[Mode, ...] = tuple(name for name, mode in MODES.items() if not mode.drafts)
