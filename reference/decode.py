"""The decoding loop of all modes: rows of a grid are drafted one grid below, verified, and resampled."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mulo_sd.reference.codebook import Codes, neighbours
from mulo_sd.reference.corrections import correction_of
from mulo_sd.reference.drafts import LastSweep, draft_source, tree_source
from mulo_sd.reference.exact import verify_by_speculation, verify_exactly
from mulo_sd.reference.execute import execute
from mulo_sd.reference.models import Condition, Models
from mulo_sd.reference.numbers import seed_number
from mulo_sd.reference.parts import BY_ROWS
from mulo_sd.reference.schedule import schedule_of
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.speculate import speculate
from mulo_sd.reference.speculate_trees import speculate_trees
from mulo_sd.reference.state import ModelState
from mulo_sd.reference.trace import Cycle, Proposal, Trace
from mulo_sd.reference.verify import verify_locally

__all__ = ["Condition", "Decoded", "Models", "decode"]


@dataclass(frozen=True)
class Decoded:
    """A decoded image.

    Attributes:
        tokens: Int[H, W].
        trace: Every pass and decision.
    """

    tokens: Tensor
    trace: Trace

    @property
    def nfe_target(self) -> int:
        """Passes of the target, its prefill included."""
        return self.trace.nfe(0)

    @property
    def nfe_drafter(self) -> int:
        """Passes of all drafters, their prefills included."""
        return len(self.trace.passes) - self.nfe_target


class _Decoder:
    """The models of one decode by level: level 0 is the target, the last level the coarsest drafter (CASCADE-1)."""

    def __init__(
        self, models: Models, condition: Condition, settings: Settings, seed: int, record_logits: bool
    ) -> None:
        self.models, self.settings, self.trace = models, settings, Trace()
        self.states = [
            ModelState(models.transformer(number), number, condition, settings, seed, self.trace, record_logits)
            for number in settings.model_numbers
        ]
        self.refresh_from = [0] * len(self.states)
        if len(self.states) > 1 or settings.decoding.is_speculative:
            vectors = torch.nn.functional.normalize(models.tokenizer.codebook, dim=-1)
            self.codes = Codes(vectors, neighbours(vectors, settings.neighbours))

    def scale_ratio(self, level: int) -> int:
        """Return how many rows of `level` there are for each row of the level below."""
        return self.models.scale_ratio(self.states[level].number, self.states[level + 1].number)

    def decide_rows(self, level: int, first_row: int, last_row: int, given: Tensor | None) -> None:
        """Decide rows of a level's grid: draft them one level below, or at the last level sample them."""
        state, settings = self.states[level], self.settings
        if level == len(self.states) - 1:
            self._sample_rows(state, first_row, last_row, given)
            return
        proposal = self._propose(level, first_row, last_row, given)
        mode = settings.decoding
        if level == 0 and mode.is_exact:
            verdict = verify_exactly(state, proposal)
        elif mode.is_speculative if level == 0 else settings.refine_by == "rounds":
            verdict = verify_by_speculation(state, proposal, self.codes)
        else:
            refreshed = range(self.refresh_from[level] * state.width, first_row * state.width)
            also_feed = refreshed if settings.refresh else range(0)
            verdict = verify_locally(state, proposal, self.codes, mode.resampling, also_feed)
        self.refresh_from[level] = first_row
        down_sampled = self._down_sample(first_row, last_row) if level == 0 and last_row < state.height else None
        tokens = state.rows(first_row, last_row)
        self.trace.cycles.append(Cycle(**vars(proposal), **vars(verdict), tokens=tokens, down_sampled=down_sampled))

    def _sample_rows(self, state: ModelState, first_row: int, last_row: int, given: Tensor | None) -> None:
        """Sample whole rows by a schedule (DRAFT-1, MODE-AR, MODE-ZIPAR), or take them from `given`."""
        settings = self.settings
        cells = range(first_row * state.width, last_row * state.width)
        if given is not None:
            state.propose(cells, given.flatten()[cells.start : cells.stop])
            return
        order = settings.decoding.coarsest
        mask = torch.zeros(state.height, state.width, dtype=torch.bool)
        mask[first_row:last_row] = True
        if settings.decoding.has_tree:
            speculate_trees(state, cells, tree_source(state, self.models), self.codes)
            return
        if settings.decoding.is_speculative and state is self.states[0]:
            correction = correction_of(mask, settings.decoding.correction, settings)
            speculate(state, correction, draft_source(state, self.models), self.codes, settings.decoding.judging)
            return
        if settings.named(order.by, None) == "rows":
            rows = correction_of(mask, "rows", settings)
            speculate(state, rows, LastSweep(state), self.codes, BY_ROWS)
            return
        execute(
            state,
            schedule_of(mask, order, settings),
            adaptive_window=settings.named(order.adaptive, False),
        )

    def _propose(self, level: int, first_row: int, last_row: int, given: Tensor | None) -> Proposal:
        """Draft one level below and up-sample: the proposal for rows of `level` (DRAFT-1, SCALE-1)."""
        state, low, ratio = self.states[level], self.states[level + 1], self.scale_ratio(level)
        low_first = first_row // ratio
        low_last = min(-(-last_row // ratio) + self.settings.look_ahead, low.height)
        self.decide_rows(level + 1, low_first, low_last, given)
        known = low.rows(0, low_last)
        # What was drafted ahead is context only: it leaves the pending set when it is drafted again.
        drafted = last_row
        for upper in range(level, len(self.states) - 1):
            drafted //= self.scale_ratio(upper)
            lower = self.states[upper + 1]
            lower.pending.difference_update(range(drafted * lower.width, len(lower.grid)))
        proposal = self.models.up_sample(self.settings.up_sampler, known, ratio)[first_row:last_row]
        state.propose(range(first_row * state.width, last_row * state.width), proposal.flatten())
        return Proposal(state.number, low.number, first_row, last_row, low_first, known[low_first:], proposal)

    def _down_sample(self, first_row: int, last_row: int) -> Tensor:
        """Replace the drafts of all levels by what D_r makes of the target's decided rows (SCALE-2).

        Returns:
            Int[rows, w], the new rows of the first drafter.
        """
        replaced = []
        for upper in range(len(self.states) - 1):
            ratio, high, low = self.scale_ratio(upper), self.states[upper], self.states[upper + 1]
            first_row, last_row = first_row // ratio, last_row // ratio
            if last_row > 0:
                known = high.rows(0, last_row * ratio)
                rows = self.models.down_sample(self.settings.down_sampler, known, ratio)[first_row:]
                low.decide(range(first_row * low.width, last_row * low.width), rows.flatten())
                replaced.append(rows)
        return replaced[0]


@torch.inference_mode()
def decode(
    models: Models,
    condition: Condition,
    settings: Settings,
    seed: int,
    draft: Tensor | None = None,
    record_logits: bool = False,
) -> Decoded:
    """Decode one image.

    Args:
        models: Target, drafters and tokenizer.
        condition: The prefix.
        settings: How to decode.
        seed: 0..2^64 - 1, the only randomness (RNG-1).
        draft: Int[h, w], tokens to take instead of the coarsest drafter's (an oracle draft, say).
        record_logits: Keep the logits of every pass in the trace.

    Returns:
        The tokens and the trace; the same for the same arguments.

    Raises:
        ValueError: the seed is none, the draft has another shape than that drafter's grid, nothing is drafted in this
            mode, or a model or up-sampler that the settings name is not there.
    """
    decoder = _Decoder(models, condition, settings, seed_number(seed), record_logits)
    target, coarsest = decoder.states[0], decoder.states[-1]
    if draft is not None and not settings.decoding.drafts:
        raise ValueError(f"draft: expected none in mode {settings.mode}, in which nothing is drafted")
    if draft is not None and draft.shape != (coarsest.height, coarsest.width):
        raise ValueError(f"draft: expected {coarsest.height} x {coarsest.width} tokens, got {tuple(draft.shape)}")
    codes = coarsest.model.config.vocabulary
    if draft is not None and (draft.is_floating_point() or not 0 <= int(draft.min()) <= int(draft.max()) < codes):
        raise ValueError(f"draft: expected whole numbers in 0..{codes - 1}, got others")
    chunk = target.height
    if settings.decoding.by_rows:
        chunk = settings.draft_rows * decoder.scale_ratio(0)
    for first_row in range(0, target.height, chunk):
        decoder.decide_rows(0, first_row, min(first_row + chunk, target.height), draft)
    return Decoded(target.grid.reshape(target.height, target.width), decoder.trace)
