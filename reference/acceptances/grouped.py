"""Grouped acceptance (ACCEPT-3): a draft token stays as often as the codes around it in the target's order would.

GSD, Grouped Speculative Decoding (So et al., ICCV 2025). Read in the published code, which has groups of 14; the
paper's table has 3 to 50, and 10 is our default. Lossy: the residual is that of single tokens. It trains nothing.
"""

import torch
from torch import Tensor

from mulo_sd.reference.acceptances.accepted import Accepted, at_most_one
from mulo_sd.reference.codebook import Codes
from mulo_sd.reference.settings import Settings


def grouped(
    probs: Tensor, draft_probs: Tensor, drafts: Tensor, places: Tensor, settings: Settings, codes: Codes
) -> Accepted:
    """Keep a draft token with min(1, sum p / sum q) over its group, else draw from the positive part of p - q."""
    group = group_of(probs, drafts, settings, codes)
    chances = at_most_one((probs * group).sum(dim=1), (draft_probs * group).sum(dim=1))
    return Accepted(chances, (probs - draft_probs).clamp(min=0))


def group_of(probs: Tensor, drafts: Tensor, settings: Settings, codes: Codes) -> Tensor:
    """Return which codes are grouped with each draft token, Bool[n, V].

    In the order of p, equal ones by code: half of `group` before it, the rest behind, without those whose p or place
    in the codebook differs too much.
    """
    own = drafts[:, None]
    order = probs.argsort(dim=1, descending=True, stable=True)
    ranks = torch.empty_like(order).scatter(1, order, torch.arange(probs.shape[1]).expand_as(order).contiguous())
    offset = ranks - ranks.gather(1, own)
    near = (offset >= -(settings.group // 2)) & (offset <= (settings.group - 1) // 2)
    vectors = codes.vectors.double()
    distances = torch.stack([(vectors - vectors[draft]).square().sum(dim=1) for draft in drafts])
    alike = (probs - probs.gather(1, own)).abs() < settings.group_probability
    group = near & alike & (distances < settings.group_distance)
    return group.scatter(1, own, torch.ones_like(own, dtype=torch.bool))
