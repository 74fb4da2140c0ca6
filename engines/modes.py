"""The modes of a decode: one entry tells a mode from the others; the engines' twin of `reference.modes`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mulo_sd.engines.parts import (
    ACCEPTANCE_READS,
    ALONE,
    CORRECTION_READS,
    CYCLES,
    DRAFT,
    DRAFT_READS,
    ISLANDS,
    PARTS,
    RASTER,
    SAMPLING,
    SWEEPING,
    Acceptance,
    Carry,
    Correction,
    Draft,
    Judging,
    Order,
)

Mode = Literal[
    "ar",
    "zipar",
    "serial",
    "parallel",
    "exact",
    "zipar-published",
    "sjd",
    "sjd-gumbel",
    "sjd-maximal",
    "gsd",
    "cool-sd",
    "specdec",
    "pjd",
    "eagle",
    "eagle-tree",
    "lantern",
    "lantern-plus",
    "ssd",
]


@dataclass(frozen=True)
class DecodingMode:
    """A mode.

    Attributes:
        rule: Of docs/semantics.md.
        purpose: In one line, for help and documentation.
        draft: Where drafts come from; None where nothing is drafted.
        acceptance: What accepts them; None likewise.
        correction: What becomes of what is not accepted; None likewise.
        carry: What later cells take along, of drafts from the last sweep.
        alone: The order of the target's own grid, where nothing is drafted.
        resampling: The order of what a local correction resamples.
        by_rows: Whether a cycle drafts `draft_rows` rows, and not the whole image.
        sees_zeros: Whether positions that are not decoded yet are seen, as zeros (MODE-UNMASKED).
    """

    rule: str
    purpose: str
    draft: Draft | None = None
    acceptance: Acceptance | None = None
    correction: Correction | None = None
    carry: Carry = "fresh"
    alone: Order = ALONE
    resampling: Order = ISLANDS
    by_rows: bool = False
    sees_zeros: bool = False

    @property
    def drafts(self) -> bool:
        """Whether drafters of coarser grids take part."""
        return self.draft == "coarse"

    @property
    def is_local(self) -> bool:
        """Whether the target verifies in one pass and resamples around what is rejected (VERIFY-1 to LOCAL-3)."""
        return self.drafts and self.correction == "local"

    @property
    def draws_ar(self) -> bool:
        """Whether the image is MODE-AR's own: a cell is decided where its sample is its guess (SWEEP-2)."""
        return self.acceptance == "coupled" and self.correction == "prefix"

    @property
    def is_exact(self) -> bool:
        """Whether drafts of coarser grids are first guesses of sweeps that draw MODE-AR's image (MODE-EXACT)."""
        return self.drafts and self.draws_ar

    @property
    def is_speculative(self) -> bool:
        """Whether the target's cells are decided as METHOD-2 says, and not by windows, sweeps or islands."""
        by_sweeps = self.draws_ar and self.draft in ("coarse", "sweep")
        return self.draft is not None and not self.is_local and not by_sweeps

    @property
    def has_head(self) -> bool:
        """Whether a head on the target's hidden states drafts, so that those are kept (METHOD-6)."""
        return self.draft == "head" or self.has_tree

    @property
    def has_tree(self) -> bool:
        """Whether drafts are a tree, of which one branch may be accepted."""
        return self.draft in ("tree", "static-tree")

    @property
    def judging(self) -> Judging:
        """How drafts are judged; in rounds a cell takes along what was kept, or drawn in its place (METHOD-4)."""
        carry: Carry = "coupled" if self.correction == "rounds" else self.carry
        return Judging(self.acceptance or "lossless", carry)

    @property
    def coarsest(self) -> Order:
        """Of the coarsest grid: the target's own where nothing is drafted."""
        return DRAFT if self.drafts else self.alone

    @property
    def nonsense(self) -> str | None:
        """What is wrong with these parts together, after "expected", in one line; None where they make sense."""
        if self.correction == "local" and self.draft != "coarse":
            return "draft_from coarse where correct_by is local: neighbourhoods are resampled around a whole draft"
        if self.correction == "rows" and self.draft != "sweep":
            return "draft_from sweep where correct_by is rows: each row guesses its own tokens"
        if self.correction == "rounds" and self.draft not in ("coarse", "sweep"):
            return "draft_from coarse or sweep where correct_by is rounds: the whole image is drafted once"
        if self.has_tree and self.acceptance not in ("lossless", "lantern", "lantern-plus"):
            return "accept_by lossless or lantern where a tree drafts: siblings are judged one after the other"
        return None

    @property
    def reads(self) -> frozenset[str]:
        """The settings that it reads; they follow from its parts."""
        read = SAMPLING | {name for name in vars(self.alone).values() if name}
        if self.draft is None or self.acceptance is None or self.correction is None:
            return read
        read |= PARTS | DRAFT_READS[self.draft] | ACCEPTANCE_READS[self.acceptance] | CORRECTION_READS[self.correction]
        if self.draft == "sweep":
            read |= SWEEPING if self.draws_ar else {"first_guess"}
        if self.draft == "sweep" and self.is_speculative and self.correction != "rounds":
            read |= {"jacobi_window", "carry"}
        if self.is_local:
            read |= {name for name in vars(self.resampling).values() if name}
        elif self.drafts and self.is_speculative:
            read |= {"block"} if self.correction == "prefix" else frozenset()
        return read | CYCLES if self.by_rows else read

    @property
    def cascade_reads(self) -> frozenset[str]:
        """Further settings that a cascade reads, whose drafters pool and resample too."""
        if not self.drafts:
            return frozenset()
        order = {name for name in vars(self.resampling).values() if name}
        read = {"refine_by", "rounds"} | ACCEPTANCE_READS["pooled"] | CORRECTION_READS["local"] | order
        return read - self.reads

    def reads_of(self, drafters: tuple[int, ...]) -> frozenset[str]:
        """Return the settings that a decode with some drafters reads."""
        return self.reads | (self.cascade_reads if len(drafters) > 1 else frozenset())


MODES: Mapping[Mode, DecodingMode] = {
    "ar": DecodingMode(
        rule="MODE-AR",
        purpose="the target alone, in raster order: one token a pass, or many by sweeps of the same image",
        draft="sweep",
        acceptance="coupled",
        correction="prefix",
    ),
    "zipar": DecodingMode(
        rule="MODE-ZIPAR",
        purpose="rows overlap: a row starts when the one above is `--window` tokens ahead",
        alone=Order(window="window", adaptive="adaptive_window"),
    ),
    "serial": DecodingMode(
        rule="MODE-SERIAL",
        purpose="MuLo-SD as first published: a few rows are drafted, verified and resampled in raster order",
        draft="coarse",
        acceptance="pooled",
        correction="local",
        resampling=RASTER,
        by_rows=True,
    ),
    "parallel": DecodingMode(
        rule="MODE-PARALLEL",
        purpose="MuLo-SD's second version: the whole image is drafted and verified at once, islands of rejections are "
        "resampled at the same time",
        draft="coarse",
        acceptance="pooled",
        correction="local",
    ),
    "exact": DecodingMode(
        rule="MODE-EXACT",
        purpose="lossless: the very image of mode ar, by sweeps that begin with the draft",
        draft="coarse",
        acceptance="coupled",
        correction="prefix",
    ),
    "zipar-published": DecodingMode(
        rule="MODE-UNMASKED",
        purpose="ZipAR as its code is: positions that are not decoded yet are seen, as zeros",
        alone=Order(window="window"),
        sees_zeros=True,
    ),
    "sjd": DecodingMode(
        rule="MODE-SJD",
        purpose="lossless in distribution: speculative Jacobi decoding, the last sweep's samples are the next drafts",
        draft="sweep",
        acceptance="lossless",
        correction="prefix",
    ),
    "sjd-gumbel": DecodingMode(
        rule="MODE-SJD",
        purpose="lossless in distribution: SJD whose drafts share their noise from sweep to sweep",
        draft="sweep",
        acceptance="lossless",
        correction="prefix",
        carry="same",
    ),
    "sjd-maximal": DecodingMode(
        rule="MODE-SJD",
        purpose="lossless in distribution: SJD whose drafts stay from sweep to sweep as often as they can",
        draft="sweep",
        acceptance="lossless",
        correction="prefix",
        carry="coupled",
    ),
    "gsd": DecodingMode(
        rule="MODE-GSD",
        purpose="SJD that accepts a draft token by the probability of its group",
        draft="sweep",
        acceptance="grouped",
        correction="prefix",
    ),
    "cool-sd": DecodingMode(
        rule="MODE-COOLSD",
        purpose="a head's chain of drafts, accepted the more willingly the earlier a token stands in it",
        draft="head",
        acceptance="annealed",
        correction="prefix",
    ),
    "specdec": DecodingMode(
        rule="MODE-SPECDEC",
        purpose="a block of drafts, of which tokens pass that are among the target's best; near greedy decoding",
        draft="block",
        acceptance="top-beta",
        correction="prefix",
    ),
    "pjd": DecodingMode(
        rule="MODE-PJD",
        purpose="SJD in several rows at once: a row opens when the one above holds `--row-lead` tokens",
        draft="sweep",
        acceptance="lossless",
        correction="rows",
        carry="kept",
    ),
    "eagle": DecodingMode(
        rule="MODE-EAGLE",
        purpose="lossless in distribution: a head on the target's hidden states drafts a chain",
        draft="head",
        acceptance="lossless",
        correction="prefix",
    ),
    "eagle-tree": DecodingMode(
        rule="MODE-EAGLE",
        purpose="lossless in distribution: EAGLE-2's tree of drafts, grown where the head is sure",
        draft="tree",
        acceptance="lossless",
        correction="prefix",
    ),
    "lantern": DecodingMode(
        rule="MODE-LANTERN",
        purpose="EAGLE-2's tree, whose tokens are accepted with the probability of codes near them",
        draft="tree",
        acceptance="lantern",
        correction="prefix",
    ),
    "lantern-plus": DecodingMode(
        rule="MODE-LANTERN",
        purpose="LANTERN++: a fixed tree, and a bound on nearby codes that grows with the token's own probability",
        draft="static-tree",
        acceptance="lantern-plus",
        correction="prefix",
    ),
    "ssd": DecodingMode(
        rule="MODE-SSD",
        purpose="whole rounds over the draft: every position keeps its token or draws another, on its own",
        draft="coarse",
        acceptance="lossless",
        correction="rounds",
        carry="coupled",
    ),
}
# Those in which no coarser grid is drafted.
UNDRAFTED_MODES: tuple[Mode, ...] = tuple(name for name, mode in MODES.items() if not mode.drafts)
