"""What U_r and D_r were given in a decode of the reference: its trace holds what came out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mulo_sd.reference.models import Models
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.trace import Cycle


@dataclass(frozen=True)
class DownSampling:
    """One step of the chain of down-samplers: rows of one grid to rows of the next (SCALE-2, CASCADE-1).

    Attributes:
        draft_model: Whose grid they come to.
        scale_ratio: Of the step.
        high_rows: Int[rows * r, W].
        low_rows: Int[rows, w], the drafter's known rows then; the last of them are D_r's of `high_rows`.
    """

    draft_model: int
    scale_ratio: int
    high_rows: Tensor
    low_rows: Tensor


def down_samplings(models: Models, settings: Settings, finished: Sequence[Cycle]) -> Iterator[DownSampling]:
    """Yield how the rows that the target has decided come to the grid of each drafter, after the last of its cycles.

    D_r runs over all rows that are decided, and only those of the new window are taken: an earlier row stays what it
    was made from fewer rows. Drafters down to which no row is whole yet are left out.

    Args:
        models: Of the reference.
        settings: Of the decode.
        finished: Cycles of the target, at least one.
    """
    levels = (0, *settings.drafters)
    known = [torch.empty(0, models.transformer(number).config.grid_width, dtype=torch.long) for number in levels]
    samplings: list[DownSampling] = []
    for cycle in finished:
        known[0] = torch.cat([known[0], cycle.tokens])
        first_row, last_row, samplings = cycle.first_row, cycle.last_row, []
        for level, draft_number in enumerate(settings.drafters, start=1):
            ratio = models.scale_ratio(levels[level - 1], draft_number)
            first_row, last_row = first_row // ratio, last_row // ratio
            if last_row == 0:
                break
            high_rows = known[level - 1][: last_row * ratio]
            with torch.inference_mode():
                low = models.down_sample(settings.down_sampler, high_rows, ratio)
            known[level] = torch.cat([known[level][:first_row], low[first_row:]])
            samplings.append(DownSampling(draft_number, ratio, high_rows, known[level]))
    yield from samplings


def resampling_cycle(settings: Settings, cycles: Sequence[Cycle], model: int, number: int, cell: int) -> Cycle | None:
    """Return the cycle in which a verifying model drew a cell from pass `number`; None where it resamples nothing.

    That is where it drafts by itself, and where it decides exactly. The prefill's logits, from which cell 0 is drawn,
    stand in an earlier pass than the verification.
    """
    exactly = model == 0 and settings.decoding.is_exact
    own = [cycle for cycle in cycles if cycle.model == model and not exactly]
    begun = own[:1] if cell == 0 else [cycle for cycle in own if cycle.verify_pass <= number]
    return begun[-1] if begun else None


def drafted_rows(models: Models, settings: Settings, cycles: Sequence[Cycle], index: int) -> Tensor:
    """Return the low-resolution rows that cycle `index` up-sampled, Int[rows, w] (SCALE-1)."""
    cycle, finished = cycles[index], [cycle for cycle in cycles[:index] if cycle.model == 0]
    if not finished:
        return cycle.draft_tokens
    decided_rows = {item.draft_model: item.low_rows for item in down_samplings(models, settings, finished)}
    decided = decided_rows.get(cycle.draft_model, cycle.draft_tokens[:0])
    return torch.cat([decided[: cycle.draft_first_row], cycle.draft_tokens])
