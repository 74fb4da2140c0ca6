"""Lossless acceptance (ACCEPT-2): speculative sampling (Leviathan et al., arXiv 2211.17192)."""

from torch import Tensor

from mulo_sd.reference.acceptances.accepted import Accepted, at_most_one
from mulo_sd.reference.codebook import Codes
from mulo_sd.reference.settings import Settings


def lossless(
    probs: Tensor, draft_probs: Tensor, drafts: Tensor, places: Tensor, settings: Settings, codes: Codes
) -> Accepted:
    """Keep a draft token x with min(1, p(x) / q(x)), else draw from what p has more than q: the law is p."""
    own = drafts[:, None]
    chances = at_most_one(probs.gather(1, own)[:, 0], draft_probs.gather(1, own)[:, 0])
    return Accepted(chances, (probs - draft_probs).clamp(min=0))
