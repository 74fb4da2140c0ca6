"""What a mode is: three parts and the orders of its grids; the twin of `engines.decoding_mode`."""

from dataclasses import dataclass

from mulo_sd.reference.parts import ALONE, DRAFT, ISLANDS, Acceptance, Carry, Correction, Draft, Judging, Order


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
    def needs_branches(self) -> bool:
        """Whether passes of the target say who sees whom, or give hidden states (METHOD-5, METHOD-6)."""
        return self.has_head or self.correction == "rows"

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
            return "accept_by lossless, lantern or lantern-plus where a tree drafts: siblings are judged one by one"
        return None
