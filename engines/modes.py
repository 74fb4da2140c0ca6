"""The modes of a decode: one entry tells a mode from the others; the engines' twin of `reference.modes`."""

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


# What every mode reads, what sweeps add, what drafting adds, what local verification adds, and what else modes share.
SAMPLING = frozenset({"mode", "guidance_scale", "temperature", "top_k", "top_p"})
SWEEPING = frozenset({"sweep_width", "first_guess"})
DRAFTING = frozenset({"drafters", "up_sampler", "draft_by", "draft_window", "draft_sweeps"}) | SWEEPING
JUDGING = frozenset({"tau", "accept_on", "radius", "radius_nats", "anchor", "neighbours", "sweeps"})
ISLAND_WISE = frozenset({"resample_by", "islands", "island_window"})
CYCLES = frozenset({"draft_rows", "look_ahead", "down_sampler", "refresh"})


@dataclass(frozen=True)
class DecodingMode:
    """A mode.

    Attributes:
        rule: Of docs/semantics.md.
        purpose: In one line, for help and documentation.
        coarsest: Of the coarsest grid: the target's own where nothing is drafted.
        reads: The settings that it reads.
        verification: Of the target; None where nothing is drafted.
        correction: Of what is resampled; in MODE-EXACT by the drafters above the coarsest one alone.
        by_rows: Whether a cycle drafts `draft_rows` rows, and not the whole image.
        cascade_reads: Further settings that a cascade reads, whose drafters verify too.
    """

    rule: str
    purpose: str
    coarsest: Order
    reads: frozenset[str]
    verification: Verification | None = None
    correction: Order = Order()
    by_rows: bool = False
    cascade_reads: frozenset[str] = frozenset()

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

    def reads_of(self, drafters: tuple[int, ...]) -> frozenset[str]:
        """Return the settings that a decode with some drafters reads."""
        return self.reads | (self.cascade_reads if len(drafters) > 1 else frozenset())


# The coarsest draft; what is resampled in raster order, and by islands.
DRAFT = Order(window="draft_window", by="draft_by", limit="draft_sweeps")
RASTER = Order(limit="sweeps")
ISLANDS = Order(window="island_window", by_island="islands", by="resample_by", limit="sweeps")

MODES: Mapping[Mode, DecodingMode] = {
    "ar": DecodingMode(
        rule="MODE-AR",
        purpose="the target alone, in raster order: one token a pass, or many by sweeps of the same image",
        coarsest=Order(),
        reads=SAMPLING | SWEEPING,
    ),
    "zipar": DecodingMode(
        rule="MODE-ZIPAR",
        purpose="rows overlap: a row starts when the one above is `--window` tokens ahead",
        coarsest=Order(window="window", adaptive="adaptive_window"),
        reads=SAMPLING | {"window", "adaptive_window"},
    ),
    "serial": DecodingMode(
        rule="MODE-SERIAL",
        purpose="MuLo-SD as first published: a few rows are drafted, verified and resampled in raster order",
        coarsest=DRAFT,
        reads=SAMPLING | DRAFTING | JUDGING | CYCLES,
        verification=Verification.LOCAL,
        correction=RASTER,
        by_rows=True,
    ),
    "parallel": DecodingMode(
        rule="MODE-PARALLEL",
        purpose="MuLo-SD's second version: the whole image is drafted and verified at once, islands of rejections are "
        "resampled at the same time",
        coarsest=DRAFT,
        reads=SAMPLING | DRAFTING | JUDGING | ISLAND_WISE,
        verification=Verification.LOCAL,
        correction=ISLANDS,
    ),
    "exact": DecodingMode(
        rule="MODE-EXACT",
        purpose="lossless: the very image of mode ar, by sweeps that begin with the draft",
        coarsest=DRAFT,
        reads=SAMPLING | DRAFTING,
        verification=Verification.EXACT,
        correction=ISLANDS,
        cascade_reads=JUDGING | ISLAND_WISE,
    ),
}
# Those in which the target alone decodes.
UNDRAFTED_MODES: tuple[Mode, ...] = tuple(name for name, mode in MODES.items() if not mode.drafts)
