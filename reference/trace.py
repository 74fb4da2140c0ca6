"""What a decode did: every pass and every decision, in order."""

from dataclasses import dataclass, field

from torch import Tensor

from mulo_sd.reference.branches import Branches


@dataclass(frozen=True)
class Reprediction:
    """A second or later prediction of a row's first token under the adaptive window (SCHED-5).

    Attributes:
        row: Of the pass whose logits it used.
        cell: Grid position.
        attempt: 1 for the second prediction.
        held_token: The token predicted before.
        kept: Whether it was accepted.
        token: What is held now: the same token if accepted, else a new one.
    """

    row: int
    cell: int
    attempt: int
    held_token: int
    kept: bool
    token: int


@dataclass(frozen=True)
class Sweep:
    """What a sweep made of the scores of its pass (SWEEP-1, SWEEP-2).

    Attributes:
        cells: Int[n], grid positions, ascending.
        guesses: Int[n], the tokens that stood there; -1 for none, which nothing that was sampled has seen.
        samples: Int[n], what the noise of each made of its scores.
        decided: Bool[n]; the samples of the others are the next guesses.
    """

    cells: Tensor
    guesses: Tensor
    samples: Tensor
    decided: Tensor


@dataclass(frozen=True)
class Speculation:
    """What a pass made of the drafts of one window (METHOD-2), n cells.

    Attributes:
        cells: Int[n], grid positions, ascending.
        guesses: Int[n], the draft tokens; of no meaning where nothing is drafted.
        drafted: Bool[n].
        attempts: Int[n], how many passes scored the cell before: which noise it drew (RNG-2).
        chances: Float64[n], with which each draft token stays; of no meaning where nothing is drafted.
        kept: Bool[n].
        tokens: Int[n], those that are decided, and the next guesses of the others.
        decided: Bool[n].
        draft_log_probs: Float[n, V], log q of each draft token, where the decode recorded logits.
    """

    cells: Tensor
    guesses: Tensor
    drafted: Tensor
    attempts: Tensor
    chances: Tensor
    kept: Tensor
    tokens: Tensor
    decided: Tensor
    draft_log_probs: Tensor | None = None


@dataclass(frozen=True)
class TreeSpeculation:
    """What a pass made of a tree of drafts (METHOD-6), n nodes, fed behind the pass's own tokens.

    Attributes:
        cell: Grid position that the tree's first nodes draft.
        tokens: Int[n].
        parents: Int[n], the number of each one's parent; -1 of drafts of `cell`.
        depths: Int[n], how many cells behind `cell` each one's cell is.
        judged: Int[j], nodes in the order in which they were judged.
        chances: Float64[j], with which each of those stays.
        kept: Bool[j].
        decided: Int[m], the tokens of `cell` and of the cells after it: those kept, and a last one drawn.
        draft_log_probs: Float[n, V], log q, where nodes were drawn and the decode recorded logits.
        logits: Float[B, 1 + n, V], that follow the last ordinary token and each node, where the decode recorded them.
    """

    cell: int
    tokens: Tensor
    parents: Tensor
    depths: Tensor
    judged: Tensor
    chances: Tensor
    kept: Tensor
    decided: Tensor
    draft_log_probs: Tensor | None = None
    logits: Tensor | None = None


@dataclass
class Pass:
    """One pass of one model: the (position, token) pairs fed (KV-1) and what was sampled from its logits.

    Attributes:
        model: 0 is the target, 1 drafts for it, 2 for 1 (RNG-2).
        positions: Int[T], sequence positions, ascending (prefix first, GRID-2).
        tokens: Int[T]; -1 stands for a prefix token.
        logits: Float[B, T, V], conditional first, where the decode recorded them; B is 1 without guidance.
        sampled: (row of the pass, grid position, token) of every token sampled from this pass.
        repredicted: SCHED-5.
        sweeps: The sweeps that sampled from this pass: at most one, but of cell 0 and others after a prefill.
        speculated: What it made of drafts (METHOD-2), a window each.
        trees: What it made of a tree of drafts (METHOD-6), one at most; its nodes are not among the tokens.
        branches: Of its tokens, where rows are drafted side by side (METHOD-5).
    """

    model: int
    positions: Tensor
    tokens: Tensor
    logits: Tensor | None = None
    sampled: list[tuple[int, int, int]] = field(default_factory=list)
    repredicted: list[Reprediction] = field(default_factory=list)
    sweeps: list[Sweep] = field(default_factory=list)
    speculated: list[Speculation] = field(default_factory=list)
    trees: list[TreeSpeculation] = field(default_factory=list)
    branches: Branches | None = None


@dataclass(frozen=True)
class Proposal:
    """Rows first_row..last_row (exclusive) of a model's grid, drafted by another.

    Attributes:
        model: The model that verifies.
        draft_model: The model that drafted for it.
        first_row: First row of the window.
        last_row: Row after the window.
        draft_first_row: Low-resolution row at which `draft_tokens` start.
        draft_tokens: Int[rows, w], drafted, look-ahead rows included.
        up_sampled: Int[last_row - first_row, W], the proposal.
    """

    model: int
    draft_model: int
    first_row: int
    last_row: int
    draft_first_row: int
    draft_tokens: Tensor
    up_sampled: Tensor


@dataclass(frozen=True)
class Verdict:
    """What verification found.

    Attributes:
        verify_pass: Which pass of the trace verified; in MODE-EXACT that of the first sweep.
        pooled_probs: Float[rows, W]; in MODE-EXACT 1 where the draft token is the target's own, else 0.
        kept: Bool[rows, W].
        radii: Int[rows, W], how far a rejection would spread (LOCAL-1, LOCAL-3); 0 in MODE-EXACT.
        resampled: Bool[rows, W], R_X; in MODE-EXACT the cells whose draft token was another than the target's.
    """

    verify_pass: int
    pooled_probs: Tensor
    kept: Tensor
    radii: Tensor
    resampled: Tensor


@dataclass(frozen=True)
class Cycle(Verdict, Proposal):
    """One cycle: a proposal, its verdict, and what was decided.

    Attributes:
        tokens: Int[rows, W], as the cycle left them.
        down_sampled: Int[rows / r, w], the window's new low-resolution rows; None where no further rows are drafted.
    """

    tokens: Tensor
    down_sampled: Tensor | None


@dataclass
class Trace:
    """All passes and all cycles of one decode; a drafter's own cycle stands before the one that uses its draft."""

    passes: list[Pass] = field(default_factory=list)
    cycles: list[Cycle] = field(default_factory=list)

    def nfe(self, model: int) -> int:
        """Return the number of passes of a model, its prefill included."""
        return sum(item.model == model for item in self.passes)

    def cycles_of(self, model: int) -> list[Cycle]:
        """Return the cycles in which a model verified."""
        return [cycle for cycle in self.cycles if cycle.model == model]

    @property
    def acceptance_rate(self) -> float:
        """Share of the target's draft tokens that were kept, before expansion; 1 where nothing was drafted."""
        drafted = sum(cycle.kept.numel() for cycle in self.cycles_of(0))
        kept = sum(int(cycle.kept.sum()) for cycle in self.cycles_of(0))
        if not drafted:  # by a coarser grid: then drafts of methods count, as often as they are judged
            windows = [window for item in self.passes for window in item.speculated if item.model == 0]
            trees = [tree for item in self.passes for tree in item.trees if item.model == 0]
            drafted = sum(int(window.drafted.sum()) for window in windows) + sum(len(tree.tokens) for tree in trees)
            kept = sum(int((window.kept & window.decided).sum()) for window in windows)
            kept += sum(int(tree.kept.sum()) for tree in trees)
        return kept / drafted if drafted else 1.0
