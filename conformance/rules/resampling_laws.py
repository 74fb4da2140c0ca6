"""What the rules say about single functions of schedules, the anchor, radii and the adaptive window.

As in function_laws.py, a law takes the function, so that anyone's can be held to it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from mulo_sd.conformance.rules import oracles
from mulo_sd.conformance.rules.branches import reach
from mulo_sd.conformance.strategies.codebooks import Codebook
from mulo_sd.conformance.strategies.grids import Mask, Window


def cells_run_in_their_earliest_step(
    mask: Mask, window: int | None, by_island: bool, steps: Callable[[Tensor, int | None, bool], list[Tensor]]
) -> None:
    """SCHED-1, SCHED-2: every cell once, in the earliest step that its waits allow; each step ascending."""
    expected = oracles.earliest_steps(set(mask.cells), math.inf if window is None else window, mask.width, by_island)
    result = [step.tolist() for step in steps(mask.tensor, window, by_island)]
    assert result == oracles.schedule(set(mask.cells), window, mask.width, by_island)
    reach("several cells in a step", any(len(step) > 1 for step in result))
    reach("a cell waits for the row above", window is not None and waits_across_rows(expected, mask.width))
    together = oracles.earliest_steps(set(mask.cells), math.inf if window is None else window, mask.width, False)
    reach("islands advance at the same time", by_island and expected != together)


def waits_across_rows(step_of: Mapping[int, int], width: int) -> bool:
    """Return whether the cells of some row run later than their places in the row alone would have it."""
    rows: dict[int, list[int]] = {}
    for cell in sorted(step_of):
        rows.setdefault(cell // width, []).append(step_of[cell])
    return any(numbers != list(range(len(numbers))) for numbers in rows.values())


def bonus_is_a_cosine(
    codebook: Codebook,
    draft_tokens: Sequence[int],
    strength: float,
    first_cell: int,
    cells: Sequence[int],
    bonus: Callable[[float, Tensor, Tensor, int, Sequence[int]], Tensor],
) -> None:
    """ANCHOR-1: strength * cosine(code, the draft's code), for every code."""
    vectors = torch.nn.functional.normalize(codebook.tensor, dim=-1)
    result = bonus(strength, vectors, torch.tensor(draft_tokens), first_cell, cells)
    near = [
        [oracles.cosine(code, codebook.rows[draft_tokens[cell - first_cell]]) for code in codebook.rows]
        for cell in cells
    ]
    np.testing.assert_allclose(result.numpy(), np.array(near) * strength, rtol=1e-6, atol=1e-12)
    reach("a code opposite to the draft", strength > 0 and any(min(row) < -0.99 for row in near))
    reach("cells in the middle", cells[0] > first_cell > 0)
    reach("nothing", strength == 0)


def radii_follow_entropies(
    quarters: Sequence[Sequence[int]],
    radius: int,
    radius_nats: float,
    adaptive_radii: Callable[[Tensor, int, float], Tensor],
) -> None:
    """LOCAL-3: the mean entropy nearby, divided by `radius_nats` and rounded down, at most `radius`; in quarters."""
    result = adaptive_radii(torch.tensor(quarters, dtype=torch.float64) / 4, radius, radius_nats).tolist()
    exact = [[Fraction(value, 4) for value in line] for line in quarters]
    expected = [[radius] * len(line) for line in quarters]
    if radius_nats:
        bought = Fraction(radius_nats)
        expected = [
            [
                min(radius, math.floor(oracles.mean_near(exact, row, column, radius) / bought))
                for column in range(len(line))
            ]
            for row, line in enumerate(quarters)
        ]
    assert result == expected
    distinct = {value for line in expected for value in line}
    reach("radii differ", len(distinct) > 1)
    reach("the largest bounds it", radius_nats > 0 and radius in distinct)
    reach("the same everywhere", radius_nats == 0)


def rejections_reach_as_far_as_their_own(
    window: Window, radii: Sequence[int], expand: Callable[[Tensor, Tensor, int, int], Tensor]
) -> None:
    """LOCAL-3: R_X where each cell has a radius of its own; `radii` is repeated over the grid."""
    mask = window.rejected
    cells = [radii[u % len(radii)] for u in range(mask.height * mask.width)]
    result = expand(
        mask.tensor, torch.tensor(cells).reshape(mask.height, mask.width), window.first_row, window.last_row
    )
    expected = oracles.resampled({u: cells[u] for u in mask.cells}, mask.width, window.cells)
    assert set(result.flatten().nonzero().flatten().tolist()) == expected
    alone = oracles.resampled({u: min(radii) for u in mask.cells}, mask.width, window.cells)
    most = oracles.resampled({u: max(radii) for u in mask.cells}, mask.width, window.cells)
    reach("between the smallest and the largest radius", alone < expected < most)


def predicting_again_gives_the_new_law(
    old_probs: Sequence[float],
    new_probs: Sequence[float],
    outcome: Callable[[Tensor, Tensor, int, float], Tensor | None],
) -> None:
    """SCHED-5: a token of law p_old is predicted again, and then has the law p_new.

    `outcome` takes p_old, p_new, the token and the acceptance draw U, and returns what a new token is drawn from,
    not normalised, or None where the token is kept. U is tried just below and just above p_new / p_old.
    """
    old, new = torch.tensor(old_probs, dtype=torch.float64), torch.tensor(new_probs, dtype=torch.float64)
    law = torch.zeros_like(new)
    for token in old.nonzero().flatten().tolist():
        accepted = min(1.0, float(new[token] / old[token]))
        below, above = accepted - 1e-9, accepted + 1e-9
        assert below < 0 or outcome(old, new, token, min(below, 1 - 1e-9)) is None
        law[token] += old[token] * accepted
        if above < 1:
            residual = outcome(old, new, token, above)
            assert residual is not None
            law += old[token] * (1 - accepted) * residual / residual.sum()
        reach("never rejected", accepted == 1)
        reach("sometimes rejected", 0 < accepted < 1)
        reach("always rejected", accepted == 0)
    np.testing.assert_allclose(law.numpy(), new.numpy(), rtol=0, atol=1e-12)


def decided_cells_are_certain(guesses: list[int], samples: list[int], certain: Callable[[Tensor, Tensor], int]) -> None:
    """SWEEP-2: as many cells are decided as have nothing but right guesses before them."""
    expected = oracles.decided_by_sweep(guesses, samples)
    result = certain(torch.tensor(guesses), torch.tensor(samples))
    assert result == expected, f"guesses {guesses}, samples {samples}: {result} cells decided, expected {expected}"
    reach("all are right", guesses == samples)
    reach("the first is wrong", guesses[0] != samples[0])
    reach("some are right", 1 < expected < len(samples))
