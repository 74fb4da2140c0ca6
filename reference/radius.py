"""The adaptive radius: how far a rejection spreads follows how uncertain the target is around it."""

import torch
import torch.nn.functional as F
from torch import Tensor


def entropy(log_probs: Tensor) -> Tensor:
    """Return the entropy in nats of each row of Float[n, V], Float[n]; codes without probability add nothing."""
    probs = log_probs.exp()
    return -(probs * log_probs.where(probs > 0, 0.0)).sum(dim=-1)


def adaptive_radii(entropies: Tensor, radius: int, radius_nats: float) -> Tensor:
    """Return the radius of every cell of a window if it is rejected (LOCAL-3).

    It is the mean entropy of p over the cells of the window within `radius` of the cell, divided by
    `radius_nats` and rounded down, but at most `radius`: a mistake in a plain background is mended on the spot,
    one where much is possible takes its surroundings along.

    Args:
        entropies: Float[rows, W], nats.
        radius: The largest.
        radius_nats: Nats of mean entropy that buy one cell of radius; 0 gives `radius` everywhere (LOCAL-1).

    Returns:
        Int[rows, W].
    """
    if radius_nats == 0:
        return torch.full(entropies.shape, radius)
    side = 2 * radius + 1
    means = F.avg_pool2d(entropies.double()[None, None], side, stride=1, padding=radius, count_include_pad=False)[0, 0]
    return (means / radius_nats).floor().clamp(max=radius).long()
