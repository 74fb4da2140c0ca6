"""What rounding allows of a judgement: chances, draws from residuals, and rules that hang on a threshold."""

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache

import torch

from mulo_sd.conformance.rules import acceptance_oracles, oracles
from mulo_sd.conformance.rules.branches import NEAR_TIE, reach
from mulo_sd.conformance.rules.decode_case import DecodeCase, Rounding
from mulo_sd.reference.settings import Settings

EXACT = 1e-9
# A chance is a ratio of two probabilities, a weight a difference of them, and a sum has a few: each rounds.
ROUNDINGS = 8


@lru_cache(maxsize=4)
def _codebook(codebook: torch.Tensor) -> list[list[float]]:
    rows: list[list[float]] = torch.nn.functional.normalize(codebook, dim=-1).tolist()
    return rows


def codebook_of(case: DecodeCase) -> list[list[float]]:
    """Return the codes as the quantiser compares them."""
    return _codebook(case.models.tokenizer.codebook)


def may_have_chance(chance: float, expected: float, rounding: Rounding) -> bool:
    """Return whether a chance is the expected one, but for rounding."""
    return math.isclose(chance, expected, rel_tol=0, abs_tol=EXACT + ROUNDINGS * rounding.nats)


def may_be_drawn(probs: Sequence[float], noise: Sequence[float], token: int, rounding: Rounding) -> bool:
    """Return whether noise draws a token of a distribution, each of whose probabilities is off by rounding at most."""
    off = ROUNDINGS * rounding.nats
    if token == oracles.sampled(probs, noise):
        return True
    scores = [
        math.log(prob - off) + extra if prob > off else -math.inf for prob, extra in zip(probs, noise, strict=True)
    ]
    near = off > 0 and math.log(probs[token] + off) + noise[token] >= max(scores)
    reach(NEAR_TIE, near)
    return near


def hangs_on_rounding(rule: str, probs: Sequence[float], draft: int, case: DecodeCase) -> bool:
    """Return whether a rule looks at an order or a threshold that rounding may change."""
    off, settings = ROUNDINGS * case.rounding.nats, case.settings
    if off == 0:
        return False
    near = any(abs(margin) <= off for margin in _margins(rule, probs, draft, settings, codebook_of(case)))
    reach(NEAR_TIE, near)
    return near


def _margins(
    rule: str, probs: Sequence[float], draft: int, settings: Settings, codebook: Sequence[Sequence[float]]
) -> list[float]:
    """Return how far each comparison of a rule is from falling otherwise."""
    match rule:
        case "grouped":
            return _margins_of_group(probs, draft, settings, codebook)
        case "lantern" | "lantern-plus":
            is_plus = rule == "lantern-plus"
            count = settings.lantern_plus_neighbours if is_plus else settings.lantern_neighbours
            bound = (settings.lantern_factor - 1) * probs[draft] if is_plus else settings.lantern_delta
            near = oracles.neighbourhood(codebook, draft, count + 1)[1:]
            sums = [sum(probs[code] for code in near[: size + 1]) for size in range(len(near))]
            distances = sorted(acceptance_oracles.squared_distance(codebook, code, draft) for code in range(len(probs)))
            return [*(total - bound for total in sums), *(a - b for a, b in itertools.pairwise(distances))]
        case "top-beta" | "top-beta-sampled":
            order = acceptance_oracles.best_first(probs)
            behind = math.log(max(probs)) - math.log(probs[draft]) if probs[draft] > 0 else math.inf
            best = [probs[order[0]] - probs[order[1]]] if rule == "top-beta" else []
            return [behind - settings.top_tau, *best, *_margins_of_rank(probs, draft, settings.top_beta)]
        case "typical":
            entropy = -math.fsum(prob * math.log(prob) for prob in probs if prob > 0)
            return [probs[draft] - min(settings.typical_threshold, settings.typical_factor * math.exp(-entropy))]
        case "pooled":
            near = oracles.neighbourhood(codebook, draft, settings.neighbours)
            return [oracles.pooled(probs, near) - settings.tau]
    return []


def _margins_of_rank(probs: Sequence[float], draft: int, count: int) -> list[float]:
    """Return how far a draft token is from falling out of the best so many, or from falling among them."""
    order = acceptance_oracles.best_first(probs)
    rank = order.index(draft)
    other = count if rank < count else count - 1
    return [probs[order[other]] - probs[draft]] if other < len(order) else []


def _margins_of_group(
    probs: Sequence[float], draft: int, settings: Settings, codebook: Sequence[Sequence[float]]
) -> list[float]:
    """Return how far a group is from having other codes: those of the order of p about it, and of its thresholds."""
    order = acceptance_oracles.best_first(probs)
    place = order.index(draft)
    first = place - settings.group // 2
    # Between which two codes an order counts: before and behind the draft token, and at either end of the group.
    edges = {edge for edge in (first, place, place + 1, first + settings.group) if 0 < edge < len(order)}
    around = order[max(0, first - 1) : max(0, first + settings.group + 1)]
    return [
        *(probs[order[edge - 1]] - probs[order[edge]] for edge in edges),
        *(abs(probs[code] - probs[draft]) - settings.group_probability for code in around),
        *(
            acceptance_oracles.squared_distance(codebook, code, draft) - settings.group_distance
            for code in around
            if code != draft
        ),
    ]
