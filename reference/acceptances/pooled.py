"""MuLo-SD's acceptance (POOL-1, ACCEPT-1): a draft token stays where its neighbourhood is likely enough.

Lossy. Source: arXiv 2601.05149, whose local correction it belongs to; it trains nothing.
"""

import torch
from torch import Tensor

from mulo_sd.reference.acceptance import accept
from mulo_sd.reference.acceptances.accepted import Accepted
from mulo_sd.reference.codebook import Codes, pooled_probs
from mulo_sd.reference.settings import Settings


def pooled(
    probs: Tensor, draft_probs: Tensor, drafts: Tensor, places: Tensor, settings: Settings, codes: Codes
) -> Accepted:
    """Keep a draft token where the pooled p reaches tau, else draw from p."""
    return Accepted(accept(pooled_probs(probs, drafts, codes.neighbours), settings.tau).to(torch.float64), probs)
