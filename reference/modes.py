"""The modes of a decode: one entry tells a mode from the others; the twin of `engines.modes`."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal

Mode = Literal["ar", "zipar", "serial", "parallel", "exact"]


class Verification(Enum):
    """How the target verifies a proposal; the drafters above the coarsest one always verify locally."""

    LOCAL = "judged in one pass, resampled around what is rejected (VERIFY-1 to LOCAL-3)"
    EXACT = "taken as first guesses of sweeps over the whole grid, which draw MODE-AR's image (MODE-EXACT)"


@dataclass(frozen=True)
class Order:
    """The order in which the cells of a set are decided, by names of settings.

    Attributes:
        window: How far the row above must be ahead (SCHED-1); None is infinite, raster order.
        adaptive: Whether rows open when their first token is settled (SCHED-5); None never.
        by_island: Whether islands are decided at the same time (SCHED-2); None never.
        by: Whether by windows or by sweeps (SWEEP-1); None is by windows where there is one, else by sweeps.
        limit: Which sweep decides all that is left (SWEEP-4); None is none.
    """

    window: str | None = None
    adaptive: str | None = None
    by_island: str | None = None
    by: str | None = None
    limit: str | None = None


@dataclass(frozen=True)
class DecodingMode:
    """A mode.

    Attributes:
        rule: Of docs/semantics.md.
        purpose: In one line, for help and documentation.
        coarsest: Of the coarsest grid: the target's own where nothing is drafted.
        verification: Of the target; None where nothing is drafted.
        correction: Of what is resampled; in MODE-EXACT by the drafters above the coarsest one alone.
        by_rows: Whether a cycle drafts `draft_rows` rows, and not the whole image.
    """

    rule: str
    purpose: str
    coarsest: Order
    verification: Verification | None = None
    correction: Order = Order()
    by_rows: bool = False

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


# The coarsest draft; what is resampled in raster order, and by islands.
DRAFT = Order(window="draft_window", by="draft_by", limit="draft_sweeps")
RASTER = Order(limit="sweeps")
ISLANDS = Order(window="island_window", by_island="islands", by="resample_by", limit="sweeps")

MODES: Mapping[Mode, DecodingMode] = {
    "ar": DecodingMode(
        rule="MODE-AR",
        purpose="the target alone, in raster order: one token a pass, or many by sweeps of the same image",
        coarsest=Order(),
    ),
    "zipar": DecodingMode(
        rule="MODE-ZIPAR",
        purpose="rows overlap: a row starts when the one above is `--window` tokens ahead",
        coarsest=Order(window="window", adaptive="adaptive_window"),
    ),
    "serial": DecodingMode(
        rule="MODE-SERIAL",
        purpose="MuLo-SD as first published: a few rows are drafted, verified and resampled in raster order",
        coarsest=DRAFT,
        verification=Verification.LOCAL,
        correction=RASTER,
        by_rows=True,
    ),
    "parallel": DecodingMode(
        rule="MODE-PARALLEL",
        purpose="MuLo-SD's second version: the whole image is drafted and verified at once, islands of rejections are "
        "resampled at the same time",
        coarsest=DRAFT,
        verification=Verification.LOCAL,
        correction=ISLANDS,
    ),
    "exact": DecodingMode(
        rule="MODE-EXACT",
        purpose="lossless: the very image of mode ar, by sweeps that begin with the draft",
        coarsest=DRAFT,
        verification=Verification.EXACT,
        correction=ISLANDS,
    ),
}
# Those in which the target alone decodes.
UNDRAFTED_MODES: tuple[Mode, ...] = tuple(name for name, mode in MODES.items() if not mode.drafts)
