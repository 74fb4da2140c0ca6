"""MuLo-SD's acceptance (POOL-1, ACCEPT-1) as a rule of drafts; the engines' twin of the reference's."""

import numpy as np

from mulo_sd.engines.rules.acceptances.accepted import Accepted, Codes, Probs, Tokens
from mulo_sd.engines.settings import Settings


def pooled(
    probs: Probs, draft_probs: Probs, drafts: Tokens, places: Tokens, settings: Settings, codes: Codes
) -> Accepted:
    """Keep a draft token where the pooled p reaches tau, else draw from p."""
    sums = np.take_along_axis(probs, codes.neighbours[drafts], axis=1).sum(axis=1)
    kept = np.zeros(len(drafts)) if settings.tau > 1 else (sums >= settings.tau).astype(np.float64)
    return Accepted(kept, probs)
