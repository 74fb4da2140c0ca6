"""Acceptance among the target's best (ACCEPT-7): a draft token passes that is nearly as good as the best one.

SpecDec (Xia et al., arXiv 2203.16487), beta 5 and tau 3. Read in the published code. Lossy; beta 1 and tau 0 are greedy
decoding exactly. What is not kept becomes the target's best token, which makes poor images of tokens that want to be
drawn; where it is drawn from p instead, the rule is ours.
"""

import torch
from torch import Tensor

from mulo_sd.reference.acceptances.accepted import Accepted
from mulo_sd.reference.codebook import Codes
from mulo_sd.reference.settings import Settings


def top_beta(
    probs: Tensor, draft_probs: Tensor, drafts: Tensor, places: Tensor, settings: Settings, codes: Codes
) -> Accepted:
    """Keep a draft token among the best, else take the best."""
    best = torch.zeros_like(probs).scatter(1, probs.argmax(dim=1, keepdim=True), 1.0)
    return Accepted(among_best(probs, drafts, settings), best)


def top_beta_sampled(
    probs: Tensor, draft_probs: Tensor, drafts: Tensor, places: Tensor, settings: Settings, codes: Codes
) -> Accepted:
    """Keep a draft token among the best, else draw from p."""
    return Accepted(among_best(probs, drafts, settings), probs)


def among_best(probs: Tensor, drafts: Tensor, settings: Settings) -> Tensor:
    """Return 1 for draft tokens that fewer than `top_beta` codes go before, and `top_tau` nats below the best at most.

    Equal probabilities rank by code, the lower first. Float64[n].
    """
    own = drafts[:, None]
    mine, codes = probs.gather(1, own), torch.arange(probs.shape[1])
    before = (probs > mine) | ((probs == mine) & (codes < own))
    near = probs.amax(dim=1).log() - mine[:, 0].log() <= settings.top_tau
    return ((before.sum(dim=1) < settings.top_beta) & near & (mine[:, 0] > 0)).double()
