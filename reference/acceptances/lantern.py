"""LANTERN's acceptances (ACCEPT-5, ACCEPT-6): codes near a draft token lend it their probability.

LANTERN (arXiv 2410.03355) bounds what they lend by `lantern_delta`, LANTERN++ (arXiv 2502.06352) by a multiple of the
token's own probability. Read in the published code. Lossy. They train nothing; the papers have them on EAGLE's trees.
"""

import torch
from torch import Tensor

from mulo_sd.reference.acceptances.accepted import Accepted, at_most_one
from mulo_sd.reference.codebook import Codes
from mulo_sd.reference.settings import Settings


def lantern(
    probs: Tensor, draft_probs: Tensor, drafts: Tensor, places: Tensor, settings: Settings, codes: Codes
) -> Accepted:
    """Keep a draft token with min(1, (p + lent) / q), else draw from p - q without it and without its lenders."""
    bounds = torch.full((len(drafts),), settings.lantern_delta, dtype=torch.float64)
    return lend(probs, draft_probs, drafts, settings.lantern_neighbours, bounds, codes)


def lantern_plus(
    probs: Tensor, draft_probs: Tensor, drafts: Tensor, places: Tensor, settings: Settings, codes: Codes
) -> Accepted:
    """As `lantern`, where at most `lantern_factor` - 1 times the token's own p is lent."""
    bounds = (settings.lantern_factor - 1) * probs.gather(1, drafts[:, None])[:, 0]
    return lend(probs, draft_probs, drafts, settings.lantern_plus_neighbours, bounds, codes)


def lend(probs: Tensor, draft_probs: Tensor, drafts: Tensor, neighbours: int, bounds: Tensor, codes: Codes) -> Accepted:
    """Accept draft tokens with the probability that nearby codes lend them.

    Args:
        probs: Float64[n, V].
        draft_probs: Float64[n, V].
        drafts: Int[n].
        neighbours: How many codes lend at most, the nearest first, equal distances by code.
        bounds: Float64[n]; they lend as long as their sum stays at or below.
        codes: The codebook.
    """
    own, count = drafts[:, None], min(neighbours, probs.shape[1] - 1)
    vectors = codes.vectors.double()
    distances = torch.stack([(vectors - vectors[draft]).square().sum(dim=1) for draft in drafts])
    distances.scatter_(1, own, -1.0)
    near = distances.argsort(dim=1, stable=True)[:, 1 : 1 + count]
    sums = probs.gather(1, near).cumsum(dim=1)
    lent = torch.where(sums <= bounds[:, None], sums, 0).amax(dim=1) if count else torch.zeros_like(bounds)
    chances = at_most_one(probs.gather(1, own)[:, 0] + lent, draft_probs.gather(1, own)[:, 0])
    residuals = (probs - draft_probs).clamp(min=0).scatter(1, own, 0.0)
    without = residuals.scatter(1, near, 0.0)
    return Accepted(chances, torch.where((lent > 0)[:, None], without, residuals))
