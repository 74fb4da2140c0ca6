"""The decoding loop: MODE-AR and MODE-SERIAL."""

from dataclasses import dataclass

import torch
from torch import Tensor

from reference.codebook import accept, neighbours, pooled_probs
from reference.grid import expand, raster_positions
from reference.scaling import down_sample, up_sample
from reference.settings import Settings
from reference.state import ModelState
from reference.tokenizer import Tokenizer
from reference.trace import Cycle, Trace
from reference.transformer import Transformer


@dataclass(frozen=True)
class Models:
    """The models of a decode; target and drafter share the tokenizer."""

    target: Transformer
    drafter: Transformer
    tokenizer: Tokenizer

    def __post_init__(self) -> None:
        """Check that both grids have the same scale ratio in both directions (GRID-1).

        Raises:
            ValueError: they have not.
        """
        high, low = self.target.config, self.drafter.config
        ratio = high.grid_height // low.grid_height
        if (low.grid_height * ratio, low.grid_width * ratio) != (high.grid_height, high.grid_width):
            raise ValueError(
                f"grids: expected the target's to be a whole multiple of the drafter's, got "
                f"{high.grid_height} x {high.grid_width} and {low.grid_height} x {low.grid_width}"
            )

    @property
    def scale_ratio(self) -> int:
        """Target rows for each drafter row (GRID-1)."""
        return self.target.config.grid_height // self.drafter.config.grid_height


@dataclass(frozen=True)
class Condition:
    """The prefix of a decode and its null counterpart, Int[P, fields] each."""

    cond: Tensor
    uncond: Tensor

    def prefixes(self, guidance_scale: float) -> Tensor:
        """Return Int[B, P, fields]: both with guidance, the conditional one alone without."""
        return self.cond[None] if guidance_scale == 1 else torch.stack([self.cond, self.uncond])


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
        """Passes of the drafter, its prefill included."""
        return self.trace.nfe(1)


def resample(state: ModelState, steps: list[list[int]], first_log_probs: Tensor, verify_pass: int) -> None:
    """Resample cells step by step; the first step uses the verification's distributions (SCHED-4).

    Args:
        state: The target; mutated.
        steps: Sets of cells; in MODE-SERIAL one cell each, in raster order.
        first_log_probs: Float[n, V] of the first step's cells.
        verify_pass: The pass that `first_log_probs` come from.
    """
    for index, cells in enumerate(steps):
        if index == 0:
            tokens = state.sample(cells, first_log_probs, verify_pass)
        else:
            tokens = state.sample(cells, state.log_probs(state.query(cells)))
        state.decide(cells, tokens)


def raster_steps(mask: Tensor) -> list[list[int]]:
    """Return one cell a step, in raster order (SCHED-1 with an infinite window, no islands)."""
    return [[cell] for cell in raster_positions(mask).tolist()]


def _draft(drafter: ModelState, first_row: int, last_row: int, given: Tensor | None) -> Tensor:
    """Draft low-resolution rows (DRAFT-1), or take them from `given`; return Int[last_row, w], all rows known."""
    width = drafter.model.config.grid_width
    cells = range(first_row * width, last_row * width)
    if given is not None:
        drafter.propose(cells, given.flatten()[cells.start : cells.stop])
    else:
        for cell in cells:
            tokens = drafter.sample([cell], drafter.log_probs(drafter.query([cell])))
            drafter.decide([cell], tokens)
    # A copy: the down-sampled rows take the place of the drafted ones in the grid.
    return drafter.grid[: last_row * width].reshape(last_row, width).clone()


def _cycle(
    models: Models,
    target: ModelState,
    drafter: ModelState,
    near: Tensor,
    low_row: int,
    given: Tensor | None,
    refresh_from: int,
) -> Cycle:
    """Run one cycle whose window starts at low-resolution row `low_row`."""
    settings, ratio = target.settings, models.scale_ratio
    height, width = target.model.config.grid_height, target.model.config.grid_width
    low_height = drafter.model.config.grid_height
    low_last = min(low_row + settings.draft_rows, low_height)
    first_row, last_row = low_row * ratio, low_last * ratio
    window = range(first_row * width, last_row * width)

    known = _draft(drafter, low_row, min(low_last + settings.look_ahead, low_height), given)
    # What was drafted ahead is context only: it leaves the drafter's pending set when it is drafted again.
    drafter.pending.difference_update(range(low_last * drafter.model.config.grid_width, len(drafter.grid)))
    proposal = up_sample(models.tokenizer, known, ratio)[first_row:last_row]
    target.propose(window, proposal.flatten())

    also_feed = range(refresh_from * width, first_row * width) if settings.refresh else ()
    logits = target.query(window, also_feed)
    verify_pass = len(target.trace.passes) - 1
    log_probs = target.log_probs(logits)
    judged = log_probs if settings.accept_on == "processed" else target.log_probs(logits, raw=True)
    pooled = pooled_probs(judged.exp(), proposal.flatten(), near)
    kept = accept(pooled, settings.tau)

    rejected = torch.zeros(height, width, dtype=torch.bool)
    rejected[first_row:last_row] = ~kept.reshape(-1, width)
    resampled = expand(rejected, settings.radius, first_row, last_row)
    target.keep([cell for cell in window if not resampled.view(-1)[cell]])
    steps = raster_steps(resampled)
    if steps:
        first = torch.tensor(steps[0]) - window.start
        resample(target, steps, log_probs[first], verify_pass)

    tokens = target.grid.reshape(height, width)
    down_sampled = None
    if last_row < height:
        down_sampled = down_sample(models.tokenizer, tokens[:last_row], ratio)[low_row:low_last]
        low_width = drafter.model.config.grid_width
        drafter.decide(range(low_row * low_width, low_last * low_width), down_sampled.flatten())
    return Cycle(
        first_row=first_row,
        last_row=last_row,
        draft_first_row=low_row,
        draft_tokens=known[low_row:],
        up_sampled=proposal,
        pooled_probs=pooled.reshape(-1, width),
        kept=kept.reshape(-1, width),
        resampled=resampled[first_row:last_row],
        tokens=tokens[first_row:last_row].clone(),
        down_sampled=down_sampled,
        verify_pass=verify_pass,
    )


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
        models: Target, drafter and tokenizer.
        condition: The prefix.
        settings: How to decode.
        seed: 0..2^64 - 1, the only randomness (RNG-1).
        draft: Int[h, w], low-resolution tokens to take instead of the drafter's (an oracle draft, say).
        record_logits: Keep the logits of every pass in the trace.

    Returns:
        The tokens and the trace; the same for the same arguments.

    Raises:
        ValueError: the draft has another shape than the drafter's grid.
    """
    trace = Trace()
    prefixes = condition.prefixes(settings.guidance_scale)
    target = ModelState(models.target, 0, prefixes, settings, seed, trace, record_logits)
    config = models.target.config
    shape = (config.grid_height, config.grid_width)
    if settings.mode == "ar":
        for cell in range(config.grid_height * config.grid_width):
            target.decide([cell], target.sample([cell], target.log_probs(target.query([cell]))))
        return Decoded(target.grid.reshape(shape), trace)

    low = models.drafter.config
    if draft is not None and draft.shape != (low.grid_height, low.grid_width):
        raise ValueError(f"draft: expected {low.grid_height} x {low.grid_width} tokens, got {tuple(draft.shape)}")
    drafter = ModelState(models.drafter, 1, prefixes, settings, seed, trace, record_logits)
    codebook = torch.nn.functional.normalize(models.tokenizer.codebook, dim=-1)
    near = neighbours(codebook, settings.neighbours)
    refresh_from = 0
    for low_row in range(0, low.grid_height, settings.draft_rows):
        cycle = _cycle(models, target, drafter, near, low_row, draft, refresh_from)
        trace.cycles.append(cycle)
        refresh_from = cycle.first_row
    return Decoded(target.grid.reshape(shape), trace)
