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
    order = acceptance_oracles.best_first(probs)
    gaps = [probs[one] - probs[other] for one, other in itertools.pairwise(order)]
    distances = [acceptance_oracles.squared_distance(codebook, code, draft) for code in range(len(probs))]
    match rule:
        case "grouped":
            differences = [abs(prob - probs[draft]) - settings.group_probability for prob in probs]
            return [*gaps, *differences, *(distance - settings.group_distance for distance in distances)]
        case "lantern" | "lantern-plus":
            is_plus = rule == "lantern-plus"
            count = settings.lantern_plus_neighbours if is_plus else settings.lantern_neighbours
            bound = (settings.lantern_factor - 1) * probs[draft] if is_plus else settings.lantern_delta
            near = oracles.neighbourhood(codebook, draft, count + 1)[1:]
            sums = [sum(probs[code] for code in near[: size + 1]) for size in range(len(near))]
            ordered = sorted(distances)
            return [*(total - bound for total in sums), *(a - b for a, b in itertools.pairwise(ordered))]
        case "top-beta" | "top-beta-sampled":
            behind = math.log(max(probs)) - math.log(probs[draft]) if probs[draft] > 0 else math.inf
            return [behind - settings.top_tau, *gaps]
        case "pooled":
            near = oracles.neighbourhood(codebook, draft, settings.neighbours)
            return [oracles.pooled(probs, near) - settings.tau]
    return []
