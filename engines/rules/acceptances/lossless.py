"""Lossless acceptance (ACCEPT-2): speculative sampling; the engines' twin of the reference's."""

import numpy as np

from mulo_sd.engines.rules.acceptances.accepted import Accepted, Codes, Probs, Tokens, at_most_one
from mulo_sd.engines.settings import Settings


def lossless(
    probs: Probs, draft_probs: Probs, drafts: Tokens, places: Tokens, settings: Settings, codes: Codes
) -> Accepted:
    """Keep a draft token x with min(1, p(x) / q(x)), else draw from what p has more than q: the law is p."""
    rows = np.arange(len(drafts))
    chances = at_most_one(probs[rows, drafts], draft_probs[rows, drafts])
    return Accepted(chances, np.maximum(probs - draft_probs, 0))
