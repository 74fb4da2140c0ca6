"""Which draft tokens are accepted (ACCEPT-1): the one place of the reference that decides it."""

import torch
from torch import Tensor

from mulo_sd.reference.settings import Settings


def accept_drafts(pooled: Tensor, entropies: Tensor, settings: Settings) -> Tensor:
    """Return which draft tokens are accepted, by the rule that the settings choose.

    Near-ties are found at the bounds of its arguments, so a rule must be monotone in each of them.

    Args:
        pooled: Float[T], POOL-1.
        entropies: Float[T], of p in nats, for rules that ask for less where the target is unsure.
        settings: Of the decode.

    Returns:
        Bool[T].
    """
    return accept(pooled, settings.tau)


def accept(pooled: Tensor, tau: float) -> Tensor:
    """Return which draft tokens are kept: pooled >= tau; none where tau > 1 (ACCEPT-1).

    Args:
        pooled: Float[T].
        tau: The threshold.

    Returns:
        Bool[T].
    """
    if tau > 1:  # a pooled probability may exceed 1 by rounding
        return torch.zeros_like(pooled, dtype=torch.bool)
    return pooled >= tau
