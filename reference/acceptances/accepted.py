"""What a rule of acceptance says of some drafts."""

from dataclasses import dataclass

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
