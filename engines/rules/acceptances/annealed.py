"""Annealed acceptance (ACCEPT-4), COOL-SD's; the engines' twin of the reference's."""

import numpy as np

from mulo_sd.engines.rules.acceptances.accepted import Accepted, Codes, Probs, Tokens, at_most_one
from mulo_sd.engines.settings import Settings


def annealed(
    probs: Probs, draft_probs: Probs, drafts: Tokens, places: Tokens, settings: Settings, codes: Codes
) -> Accepted:
    """Keep a draft token with f = min(1, w p / q), else draw from the positive part of p - f q."""
    rows = np.arange(len(drafts))
    raised = factors(places, settings)[:, None] * probs
    chances = at_most_one(raised[rows, drafts], draft_probs[rows, drafts])
    return Accepted(chances, np.maximum(probs - np.minimum(raised, draft_probs), 0))


def factors(places: Tokens, settings: Settings) -> Probs:
    """Return the factor w of each place of a window, Float64[n]: their mean over the window is `anneal`."""
    rate, count = settings.anneal_rate, int(places.max()) + 1 if len(places) else 1
    mean = np.exp(-rate * np.arange(count)).mean()
    weights: Probs = settings.anneal * np.exp(-rate * places) / mean
    return weights
