"""Typical acceptance (ACCEPT-8): a draft token stays that is likely for how unsure the target is.

Medusa (Cai et al., arXiv 2401.10774), threshold 0.09 and factor 0.3, as its paper and its code have them [second-hand].
Lossy. It trains nothing of its own; the paper has it on trees of several heads.
"""

import torch
from torch import Tensor

from mulo_sd.reference.acceptances.accepted import Accepted
from mulo_sd.reference.codebook import Codes
from mulo_sd.reference.radius import entropy
from mulo_sd.reference.settings import Settings


def typical(
    probs: Tensor, draft_probs: Tensor, drafts: Tensor, places: Tensor, settings: Settings, codes: Codes
) -> Accepted:
    """Keep a draft token whose p is above the threshold that p's entropy sets, else draw from p."""
    least = (settings.typical_factor * torch.exp(-entropy(probs.log()))).clamp(max=settings.typical_threshold)
    return Accepted((probs.gather(1, drafts[:, None])[:, 0] > least).double(), probs)
