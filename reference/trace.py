"""What a decode did: every pass and every decision, in order."""

from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class Pass:
    """One pass of one model: the (position, token) pairs fed (KV-1) and what was sampled from its logits.

    Attributes:
        model: 0 is the target, 1 its drafter.
        positions: Int[T], sequence positions, ascending (prefix first, GRID-2).
        tokens: Int[T]; -1 stands for a prefix token.
        logits: Float[B, T, V], conditional first, where the decode recorded them; B is 1 without guidance.
        sampled: (row of the pass, grid position, token) of every token sampled from this pass.
    """

    model: int
    positions: Tensor
    tokens: Tensor
    logits: Tensor | None = None
    sampled: list[tuple[int, int, int]] = field(default_factory=list)


@dataclass
class Cycle:
    """One cycle of MODE-SERIAL over target rows first_row..last_row (exclusive).

    Attributes:
        first_row: First target row of the window.
        last_row: Target row after the window.
        draft_first_row: Low-resolution row at which `draft_tokens` start.
        draft_tokens: Int[rows, w], drafted, look-ahead rows included.
        up_sampled: Int[last_row - first_row, W], the proposal.
        verify_pass: Which pass of the trace verified it.
        pooled_probs: Float[rows, W].
        kept: Bool[rows, W].
        resampled: Bool[rows, W], R_X.
        tokens: Int[rows, W], as the cycle left them.
        down_sampled: Int[rows / r, w], the window's new low-resolution rows, or None after the last cycle.
    """

    first_row: int
    last_row: int
    draft_first_row: int
    draft_tokens: Tensor
    up_sampled: Tensor
    pooled_probs: Tensor
    kept: Tensor
    resampled: Tensor
    tokens: Tensor
    down_sampled: Tensor | None
    verify_pass: int


@dataclass
class Trace:
    """All passes and all cycles of one decode."""

    passes: list[Pass] = field(default_factory=list)
    cycles: list[Cycle] = field(default_factory=list)

    def nfe(self, model: int) -> int:
        """Return the number of passes of a model, its prefill included."""
        return sum(item.model == model for item in self.passes)

    @property
    def acceptance_rate(self) -> float:
        """Share of draft tokens kept by ACCEPT-1 (before local expansion); 1 where nothing was drafted."""
        drafted = sum(cycle.kept.numel() for cycle in self.cycles)
        kept = sum(int(cycle.kept.sum()) for cycle in self.cycles)
        return kept / drafted if drafted else 1.0
