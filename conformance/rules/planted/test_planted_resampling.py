"""Each law of resampling_laws.py fails where the function is wrong in the way that the law is there to find."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mulo_sd.conformance.rules import resampling_laws as laws
from mulo_sd.conformance.rules.planting import Check, over
from mulo_sd.conformance.strategies.codebooks import Codebook
from mulo_sd.conformance.strategies.grids import Mask, Window
from mulo_sd.reference.anchor import Anchor
from mulo_sd.reference.grid import expand, islands
from mulo_sd.reference.radius import adaptive_radii
from mulo_sd.reference.schedule import steps


def steps_of_a_narrower_window(cells: Tensor, window: int | None, by_island: bool) -> list[Tensor]:
    """Wait for columns < j + window - 1."""
    return steps(cells, None if window is None else max(1, window - 1), by_island)


def steps_one_island_at_a_time(cells: Tensor, window: int | None, by_island: bool) -> list[Tensor]:
    """Go through the islands one after the other."""
    one_by_one = []
    for island in islands(cells):
        alone = torch.zeros_like(cells)
        alone.view(-1)[island] = True
        one_by_one += steps(alone, window, by_island=True)
    return one_by_one


def steps_not_ascending(cells: Tensor, window: int | None, by_island: bool) -> list[Tensor]:
    """List the lower rows first."""
    return [step.flip(0) for step in steps(cells, window, by_island)]


def steps_late(cells: Tensor, window: int | None, by_island: bool) -> list[Tensor]:
    """Decide one cell of each step a step later."""
    return [part for step in steps(cells, window, by_island) for part in (step[:1], step[1:]) if len(part)]


def radii_rounded_up(entropies: Tensor, radius: int, radius_nats: float) -> Tensor:
    """Round up."""
    return (adaptive_radii(entropies, radius, radius_nats) + 1).clamp(max=radius)


def radii_of_the_cell_alone(entropies: Tensor, radius: int, radius_nats: float) -> Tensor:
    """Take the cell's own entropy."""
    return (entropies / radius_nats).floor().clamp(max=radius).long()


def radii_of_a_padded_mean(entropies: Tensor, radius: int, radius_nats: float) -> Tensor:
    """Count zeros outside the window."""
    means = F.avg_pool2d(entropies[None, None], 2 * radius + 1, stride=1, padding=radius)[0, 0]
    return (means / radius_nats).floor().clamp(max=radius).long()


def radii_without_bound(entropies: Tensor, radius: int, radius_nats: float) -> Tensor:
    """Forget that `radius` is the largest."""
    return adaptive_radii(entropies, radius, radius_nats) * 2


def expand_by_the_reached(rejected: Tensor, radii: Tensor, first_row: int, last_row: int) -> Tensor:
    """Take the radius of the cell that is reached, not of the rejected one."""
    result = torch.zeros_like(rejected)
    for radius in set(radii.flatten().tolist()):
        result |= expand(rejected, radius, first_row, last_row) & (radii == radius)
    return result


def bonus(strength: float, vectors: Tensor, drafts: Tensor, first: int, cells: Sequence[int]) -> Tensor:
    """Return the reference's bonus."""
    return Anchor(strength, vectors, drafts, first).bonus(cells)


def bonus_of_a_distance(strength: float, vectors: Tensor, drafts: Tensor, first: int, cells: Sequence[int]) -> Tensor:
    """Take minus half the squared distance: a cosine less 1."""
    return bonus(strength, vectors, drafts, first, cells) - strength


def bonus_of_the_first(strength: float, vectors: Tensor, drafts: Tensor, first: int, cells: Sequence[int]) -> Tensor:
    """Forget where the window's cells begin."""
    return bonus(strength, vectors, drafts, first, [first] * len(cells))


def kept_or_redrawn(old: Tensor, new: Tensor, token: int, draw: float) -> Tensor | None:
    """Predict a token again as SCHED-5 has it."""
    return None if draw * old[token] < new[token] else (new - old).clamp(min=0)


def redrawn_from_all(old: Tensor, new: Tensor, token: int, draw: float) -> Tensor | None:
    """Draw a rejected token's successor from p_new."""
    return None if draw * old[token] < new[token] else new


def kept_by_its_new_probability(old: Tensor, new: Tensor, token: int, draw: float) -> Tensor | None:
    """Forget p_old."""
    return None if draw < new[token] else (new - old).clamp(min=0)


WHOLE = Mask(3, 4, frozenset(range(12)))
APART = Mask(3, 5, frozenset({0, 1, 5, 3, 4, 9, 14}))
UNEVEN = [[0, 0, 9, 20], [0, 1, 4, 20], [3, 9, 12, 8]]
FAR = Window(Mask(5, 5, frozenset({7, 17})), 1, 5, 0)
CODES = Codebook(((1, 0), (0, 2), (-1, 0), (3, 3)))
OLD_AND_NEW = ((0.5, 0.5, 0.0), (0.25, 0.0, 0.75))


PLANTED: list[tuple[Check, Callable[..., Any], Callable[..., Any]]] = [
    (over(laws.cells_run_in_their_earliest_step, WHOLE, 2, False), steps, steps_of_a_narrower_window),
    (over(laws.cells_run_in_their_earliest_step, APART, 2, True), steps, steps_one_island_at_a_time),
    (over(laws.cells_run_in_their_earliest_step, APART, 2, True), steps, lambda cells, w, _: steps(cells, w, False)),
    (over(laws.cells_run_in_their_earliest_step, WHOLE, 2, False), steps, steps_not_ascending),
    (over(laws.cells_run_in_their_earliest_step, WHOLE, 2, False), steps, steps_late),
    (over(laws.radii_follow_entropies, UNEVEN, 2, 1.0), adaptive_radii, radii_rounded_up),
    (over(laws.radii_follow_entropies, UNEVEN, 2, 1.0), adaptive_radii, radii_of_the_cell_alone),
    (over(laws.radii_follow_entropies, UNEVEN, 2, 1.0), adaptive_radii, radii_of_a_padded_mean),
    (over(laws.radii_follow_entropies, UNEVEN, 2, 1.0), adaptive_radii, radii_without_bound),
    (over(laws.rejections_reach_as_far_as_their_own, FAR, [1, 2, 0]), expand, expand_by_the_reached),
    (over(laws.bonus_is_a_cosine, CODES, [0, 1, 2], 4.0, 5, [5, 7]), bonus, bonus_of_a_distance),
    (over(laws.bonus_is_a_cosine, CODES, [0, 1, 2], 4.0, 5, [5, 7]), bonus, bonus_of_the_first),
    (over(laws.predicting_again_gives_the_new_law, *OLD_AND_NEW), kept_or_redrawn, redrawn_from_all),
    (over(laws.predicting_again_gives_the_new_law, *OLD_AND_NEW), kept_or_redrawn, kept_by_its_new_probability),
]


@pytest.mark.parametrize(("law", "right", "wrong"), PLANTED, ids=lambda value: getattr(value, "__name__", None))
def test_planted_defects_are_found(law: Check, right: Callable[..., Any], wrong: Callable[..., Any]) -> None:
    """Each law holds for the reference's function, and for no function with the planted defect."""
    law(right)
    with pytest.raises(AssertionError):
        law(wrong)
