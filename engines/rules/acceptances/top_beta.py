"""Acceptance among the target's best (ACCEPT-7), SpecDec's; the engines' twin of the reference's."""

import numpy as np

from mulo_sd.engines.rules.acceptances.accepted import Accepted, Codes, Probs, Tokens
from mulo_sd.engines.settings import Settings


def top_beta(
    probs: Probs, draft_probs: Probs, drafts: Tokens, places: Tokens, settings: Settings, codes: Codes
) -> Accepted:
    """Keep a draft token among the best, else take the best."""
    best = np.zeros_like(probs)
    np.put_along_axis(best, probs.argmax(axis=1)[:, None], 1, axis=1)
    return Accepted(among_best(probs, drafts, settings), best)


def top_beta_sampled(
    probs: Probs, draft_probs: Probs, drafts: Tokens, places: Tokens, settings: Settings, codes: Codes
) -> Accepted:
    """Keep a draft token among the best, else draw from p."""
    return Accepted(among_best(probs, drafts, settings), probs)


def among_best(probs: Probs, drafts: Tokens, settings: Settings) -> Probs:
    """Return 1 for draft tokens that are among the best and near enough to the best one, else 0, Float64[n]."""
    own = drafts[:, None]
    mine = np.take_along_axis(probs, own, axis=1)
    before = (probs > mine) | ((probs == mine) & (np.arange(probs.shape[1]) < own))
    with np.errstate(divide="ignore"):  # a draft token that the target never draws lies infinitely far below
        near = np.log(probs.max(axis=1)) - np.log(mine[:, 0]) <= settings.top_tau
    return np.asarray((before.sum(axis=1) < settings.top_beta) & near & (mine[:, 0] > 0), dtype=np.float64)
