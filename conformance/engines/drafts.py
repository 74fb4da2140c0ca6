"""What U_r and D_r were given in a decode of the reference: its trace holds what came out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reference.models import Models
from reference.settings import Settings
from reference.trace import Cycle


@dataclass(frozen=True)
class DownSampling:
    """One step of the chain of down-samplers: rows of one grid to rows of the next (SCALE-2, CASCADE-1).

    Attributes:
        draft_model: Whose grid they come to.
        scale_ratio: Of the step.
        high_rows: Int[rows * r, W].
        low_rows: Int[rows, w].
    """

    draft_model: int
    scale_ratio: int
    high_rows: Tensor
    low_rows: Tensor


def down_samplings(models: Models, settings: Settings, finished: Sequence[Cycle]) -> Iterator[DownSampling]:
    """Yield how all rows that the target has decided come to the grid of each drafter.

    Args:
        models: Of the reference.
        settings: Of the decode.
        finished: Cycles of the target, at least one.
    """
    rows, number = torch.cat([cycle.tokens for cycle in finished]), 0
    for draft_number in settings.drafters:
        ratio = models.scale_ratio(number, draft_number)
        with torch.inference_mode():
            low = models.down_sample(settings.down_sampler, rows, ratio)
        yield DownSampling(draft_number, ratio, rows, low)
        rows, number = low, draft_number


def resampling_cycle(cycles: Sequence[Cycle], model: int, number: int, cell: int) -> Cycle | None:
    """Return the cycle in which a verifying model drew a cell from pass `number`; None where it drafts by itself.

    The prefill's logits, from which cell 0 is drawn, stand in an earlier pass than the verification.
    """
    own = [cycle for cycle in cycles if cycle.model == model]
    begun = own[:1] if cell == 0 else [cycle for cycle in own if cycle.verify_pass <= number]
    return begun[-1] if begun else None


def drafted_rows(models: Models, settings: Settings, cycles: Sequence[Cycle], index: int) -> Tensor:
    """Return the low-resolution rows that cycle `index` up-sampled, Int[rows, w] (SCALE-1)."""
    cycle, finished = cycles[index], [cycle for cycle in cycles[:index] if cycle.model == 0]
    if not finished:
        return cycle.draft_tokens
    decided = next(
        item.low_rows for item in down_samplings(models, settings, finished) if item.draft_model == cycle.draft_model
    )
    return torch.cat([decided[: cycle.draft_first_row], cycle.draft_tokens])
