"""What a rule of acceptance says of some drafts."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Accepted:
    """The chances of n drafts, and what is drawn where one is not kept.

    Attributes:
        chances: Float64[n], with which each draft token stays.
        residuals: Float64[n, V], weights of the codes that may take its place; where all are 0, p takes theirs.
    """

    chances: Tensor
    residuals: Tensor


def at_most_one(own: Tensor, drawn: Tensor) -> Tensor:
    """Return min(1, own / drawn), Float64[n]; where nothing is drawn, 1 if own is above 0, else 0 (ACCEPT-2)."""
    return torch.where(drawn > 0, (own / drawn).clamp(max=1), (own > 0).to(own.dtype))
