"""What the rules say about a single window of drafts; a law takes the rule, so that anyone's can be held to it."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from mulo_sd.conformance.rules import acceptance_oracles as oracles
from mulo_sd.conformance.rules.branches import reach
from mulo_sd.conformance.rules.oracle_model import Array
from mulo_sd.conformance.strategies.drafts import Drafts

# A rule as a function of drafts alone: chances Float64[n], and weights of what replaces each, Float64[n, V].
Rule = Callable[[Drafts], tuple[Array, Array]]
TOLERANCE = 1e-12
LAW_TOLERANCE = 1e-9


def acceptance_follows(drafts: Drafts, name: str, rule: Rule) -> None:
    """POOL-1, ACCEPT-1 to ACCEPT-8: the chance of each draft token, and the law of what takes its place."""
    chances, residuals = rule(drafts)
    count = len(drafts.draft_tokens)
    assert chances.shape == (count,)
    assert residuals.shape == (count, len(drafts.codebook.rows))
    for place, (probs, draft_probs, token) in enumerate(
        zip(drafts.target_probs, drafts.draft_probs, drafts.draft_tokens, strict=True)
    ):
        rows = drafts.codebook.rows
        chance, replacement = oracles.accepted(name, probs, draft_probs, token, place, count, drafts.settings, rows)
        what = f"place {place}, token {token}: stays with {chances[place]:.6g}, expected {chance:.6g}"
        assert math.isclose(chances[place], chance, rel_tol=0, abs_tol=TOLERANCE), what
        reach("a draft token stays in any case", chance == 1)
        reach("a draft token never stays", chance == 0)
        reach("a draft token stays by chance", 0 < chance < 1)
        if chance < 1:
            given = oracles.normalised(residuals[place].tolist(), probs)
            np.testing.assert_allclose(given, replacement, rtol=0, atol=TOLERANCE, err_msg=what)
            reach("a draft token may come back", replacement[token] > 0)
        plain, residual = oracles.accepted("lossless", probs, draft_probs, token, place, count, drafts.settings, rows)
        reach("more is kept than by lossless acceptance", chance > plain)
        reach("other codes take its place than by lossless acceptance", chance < 1 and replacement != residual)


def decided_law(drafts: Drafts, place: int, rule: Rule) -> list[float]:
    """Return the law of what is decided at a place whose draft is drawn from its q, by enumeration of its tokens."""
    probs, draft_probs = drafts.target_probs[place], drafts.draft_probs[place]
    law = [0.0] * len(probs)
    for token, drawn in enumerate(draft_probs):
        if drawn > 0:
            tokens = (*drafts.draft_tokens[:place], token, *drafts.draft_tokens[place + 1 :])
            chances, residuals = rule(drafts._replace(draft_tokens=tokens))
            chance, replacement = float(chances[place]), oracles.normalised(residuals[place].tolist(), probs)
            law[token] += drawn * chance
            for code, prob in enumerate(replacement):
                law[code] += drawn * (1 - chance) * prob
    return law


def total_variation(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the total variation of two distributions."""
    return math.fsum(abs(a - b) for a, b in zip(one, other, strict=True)) / 2


def decides_as_the_target(drafts: Drafts, rule: Rule) -> None:
    """ACCEPT-2: what is decided of a draft has the distribution p, whatever it was drawn from."""
    for place, (probs, draft_probs) in enumerate(zip(drafts.target_probs, drafts.draft_probs, strict=True)):
        np.testing.assert_allclose(decided_law(drafts, place, rule), probs, rtol=0, atol=LAW_TOLERANCE)
        reach("the draft is certain", max(draft_probs) == 1 and max(probs) < 1)
        reach("the draft is drawn from another distribution", max(draft_probs) < 1 and probs != draft_probs)


def decides_greedily(drafts: Drafts, rule: Rule) -> None:
    """ACCEPT-7: with `top_beta` 1 or `top_tau` 0 what is decided is a best code, whatever was drafted."""
    for place, probs in enumerate(drafts.target_probs):
        law = decided_law(drafts, place, rule)
        best = [code for code, prob in enumerate(probs) if prob == max(probs)]
        assert math.isclose(sum(law[code] for code in best), 1, abs_tol=LAW_TOLERANCE)
        assert drafts.settings.top_beta > 1 or math.isclose(law[best[0]], 1, abs_tol=LAW_TOLERANCE)
        reach("a tie for the best", len(best) > 1)
        reach("the draft is another code", drafts.draft_tokens[place] not in best)
