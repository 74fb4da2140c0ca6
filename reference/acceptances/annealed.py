"""Annealed acceptance (ACCEPT-4): p is raised at the head of a chain, and lowered at its end.

COOL-SD (arXiv 2601.09212), whose code is not public. How its factors are normalised is second-hand: so that their mean
is `anneal`. Lossy where a factor is above 1. It trains nothing of its own; the paper has it on EAGLE's chain.
"""

import torch
from torch import Tensor

from mulo_sd.reference.acceptances.accepted import Accepted, at_most_one
from mulo_sd.reference.codebook import Codes
from mulo_sd.reference.settings import Settings


def annealed(
    probs: Tensor, draft_probs: Tensor, drafts: Tensor, places: Tensor, settings: Settings, codes: Codes
) -> Accepted:
    """Keep a draft token with f = min(1, w p / q), else draw from the positive part of p - f q."""
    own = drafts[:, None]
    raised = factors(places, settings)[:, None] * probs
    chances = at_most_one(raised.gather(1, own)[:, 0], draft_probs.gather(1, own)[:, 0])
    return Accepted(chances, (probs - torch.minimum(raised, draft_probs)).clamp(min=0))


def factors(places: Tensor, settings: Settings) -> Tensor:
    """Return the factor w of each place of a window, Float64[n].

    w_i = `anneal` * exp(-`anneal_rate` * i) / mean over the window of exp(-`anneal_rate` * i).
    """
    rate, count = settings.anneal_rate, int(places.max()) + 1 if len(places) else 1
    mean = torch.exp(-rate * torch.arange(count, dtype=torch.float64)).mean()
    return settings.anneal * torch.exp(-rate * places.double()) / mean
