"""LANTERN's acceptances (ACCEPT-5, ACCEPT-6); the engines' twin of the reference's."""

import numpy as np

from mulo_sd.engines.rules.acceptances.accepted import Accepted, Codes, Probs, Tokens, at_most_one
from mulo_sd.engines.settings import Settings


def lantern(
    probs: Probs, draft_probs: Probs, drafts: Tokens, places: Tokens, settings: Settings, codes: Codes
) -> Accepted:
    """Keep a draft token with min(1, (p + lent) / q), else draw from p - q without it and without its lenders."""
    bounds = np.full(len(drafts), settings.lantern_delta)
    return lend(probs, draft_probs, drafts, settings.lantern_neighbours, bounds, codes)


def lantern_plus(
    probs: Probs, draft_probs: Probs, drafts: Tokens, places: Tokens, settings: Settings, codes: Codes
) -> Accepted:
    """As `lantern`, where at most `lantern_factor` - 1 times the token's own p is lent."""
    bounds = (settings.lantern_factor - 1) * probs[np.arange(len(drafts)), drafts]
    return lend(probs, draft_probs, drafts, settings.lantern_plus_neighbours, bounds, codes)


def lend(probs: Probs, draft_probs: Probs, drafts: Tokens, neighbours: int, bounds: Probs, codes: Codes) -> Accepted:
    """Accept draft tokens with the probability that nearby codes lend them; arguments as in the reference."""
    rows, count = np.arange(len(drafts)), min(neighbours, probs.shape[1] - 1)
    vectors = codes.vectors.astype(np.float64)
    # Row by row: all at once would be drafts times codes times numbers of a code.
    distances = np.stack([np.square(vectors - vectors[draft]).sum(axis=1) for draft in drafts])
    distances[rows, drafts] = -1
    near = distances.argsort(axis=1, kind="stable")[:, 1 : 1 + count]
    sums = np.take_along_axis(probs, near, axis=1).cumsum(axis=1)
    lent = np.where(sums <= bounds[:, None], sums, 0).max(axis=1, initial=0)
    chances = at_most_one(probs[rows, drafts] + lent, draft_probs[rows, drafts])
    residuals = np.maximum(probs - draft_probs, 0)
    residuals[rows, drafts] = 0
    lending = np.flatnonzero(lent > 0)
    residuals[lending[:, None], near[lending]] = 0
    return Accepted(chances, residuals)
