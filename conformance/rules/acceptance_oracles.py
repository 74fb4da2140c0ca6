"""The rules of acceptance once more, in plain Python: with which chance a draft token stays, and what replaces it."""

import math
from collections.abc import Sequence

from mulo_sd.conformance.rules import oracles
from mulo_sd.reference.settings import Settings

Probs = Sequence[float]


def normalised(weights: Probs, otherwise: Probs) -> list[float]:
    """Return weights divided by their sum; where all are 0, other probabilities."""
    total = math.fsum(weights)
    return [weight / total for weight in weights] if total > 0 else list(otherwise)


def excess(probs: Probs, taken: Probs) -> list[float]:
    """Return what p has more than what is taken from it."""
    return [max(0.0, own - other) for own, other in zip(probs, taken, strict=True)]


def ratio(own: float, drawn: float) -> float:
    """ACCEPT-2: own / drawn; where nothing is drawn, 1 if own is above 0, else 0."""
    return own / drawn if drawn > 0 else float(own > 0)


def best_first(probs: Probs) -> list[int]:
    """Return the codes in the order of p, equal ones by code."""
    return sorted(range(len(probs)), key=lambda code: (-probs[code], code))


def squared_distance(codebook: Sequence[Sequence[float]], one: int, other: int) -> float:
    """Return the squared Euclidean distance of two codes."""
    return sum((a - b) ** 2 for a, b in zip(codebook[one], codebook[other], strict=True))


def group(probs: Probs, draft: int, settings: Settings, codebook: Sequence[Sequence[float]]) -> set[int]:
    """ACCEPT-3: the codes whose probability counts for a draft token's."""
    order = best_first(probs)
    first = order.index(draft) - settings.group // 2
    around = order[max(0, first) : max(0, first + settings.group)]
    alike = {
        code
        for code in around
        if abs(probs[code] - probs[draft]) < settings.group_probability
        and squared_distance(codebook, code, draft) < settings.group_distance
    }
    return alike | {draft}


def factor(place: int, count: int, settings: Settings) -> float:
    """ACCEPT-4: the factor of a place among so many drafts."""
    weights = [math.exp(-settings.anneal_rate * index) for index in range(count)]
    return settings.anneal * weights[place] / (math.fsum(weights) / count)


def lenders(
    probs: Probs, draft: int, count: int, bound: float, codebook: Sequence[Sequence[float]]
) -> tuple[float, set[int]]:
    """ACCEPT-5, ACCEPT-6: what nearby codes lend, and the codes that a rejection rules out besides."""
    near = oracles.neighbourhood(codebook, draft, count + 1)[1:]
    lent = total = 0.0
    for code in near:
        total += probs[code]
        if total > bound:
            break
        lent = total
    return lent, set(near) if lent > 0 else set()


def is_among_best(probs: Probs, draft: int, settings: Settings) -> bool:
    """ACCEPT-7: whether a draft token is nearly as good as the best."""
    if probs[draft] == 0:
        return False
    behind = math.log(max(probs)) - math.log(probs[draft])
    return best_first(probs).index(draft) < settings.top_beta and behind <= settings.top_tau


def accepted(
    rule: str,
    probs: Probs,
    draft_probs: Probs,
    draft: int,
    place: int,
    count: int,
    settings: Settings,
    codebook: Sequence[Sequence[float]],
) -> tuple[float, list[float]]:
    """Return the chance of a draft token, and the distribution of what takes its place.

    Args:
        rule: The setting `accept_by`.
        probs: p.
        draft_probs: q.
        draft: The token.
        place: Of the draft in what was drafted together, from 0 on.
        count: Drafts that were drafted together.
        settings: Of the rule.
        codebook: Its codes.
    """
    residual = excess(probs, draft_probs)
    match rule:
        case "lossless":
            chance = ratio(probs[draft], draft_probs[draft])
        case "grouped":
            codes = group(probs, draft, settings, codebook)
            chance = ratio(*(sum(weights[code] for code in sorted(codes)) for weights in (probs, draft_probs)))
        case "annealed":
            raised = [factor(place, count, settings) * prob for prob in probs]
            chance = ratio(raised[draft], draft_probs[draft])
            residual = excess(probs, [min(pair) for pair in zip(raised, draft_probs, strict=True)])
        case "lantern" | "lantern-plus":
            is_plus = rule == "lantern-plus"
            near = settings.lantern_plus_neighbours if is_plus else settings.lantern_neighbours
            bound = (settings.lantern_factor - 1) * probs[draft] if is_plus else settings.lantern_delta
            lent, ruled_out = lenders(probs, draft, near, bound, codebook)
            chance = ratio(probs[draft] + lent, draft_probs[draft])
            residual = [0.0 if code in ruled_out | {draft} else weight for code, weight in enumerate(residual)]
        case "top-beta" | "top-beta-sampled":
            chance = float(is_among_best(probs, draft, settings))
            best = best_first(probs)[0]
            residual = [float(code == best) for code in range(len(probs))] if rule == "top-beta" else list(probs)
        case "typical":
            entropy = -math.fsum(prob * math.log(prob) for prob in probs if prob > 0)
            least = min(settings.typical_threshold, settings.typical_factor * math.exp(-entropy))
            chance, residual = float(probs[draft] > least), list(probs)
        case "pooled":
            near_codes = oracles.neighbourhood(codebook, draft, settings.neighbours)
            chance = float(settings.tau <= 1 and oracles.pooled(probs, near_codes) >= settings.tau)
            residual = list(probs)
        case _:
            raise ValueError(f"rule: expected one of acceptance, got {rule}")
    return min(1.0, chance), normalised(residual, probs)
