"""Typical acceptance (ACCEPT-8), Medusa's; the engines' twin of the reference's."""

import numpy as np

from mulo_sd.engines.rules.acceptances.accepted import Accepted, Codes, Probs, Tokens
from mulo_sd.engines.settings import Settings


def typical(
    probs: Probs, draft_probs: Probs, drafts: Tokens, places: Tokens, settings: Settings, codes: Codes
) -> Accepted:
    """Keep a draft token whose p is above the threshold that p's entropy sets, else draw from p."""
    logs = np.log(np.where(probs > 0, probs, 1))
    entropies = -np.einsum("nv,nv->n", probs, logs)
    least = np.minimum(settings.typical_factor * np.exp(-entropies), settings.typical_threshold)
    return Accepted((probs[np.arange(len(drafts)), drafts] > least).astype(np.float64), probs)
