"""What a rule of acceptance says of some drafts, and the codebook as rules see it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Probs = NDArray[np.float64]
Tokens = NDArray[np.int64]


@dataclass(frozen=True)
class Codes:
    """The codebook as a decode uses it.

    Attributes:
        vectors: Float32[V, d], as the quantiser compares them.
        neighbours: Int[V, k], POOL-1.
    """

    vectors: NDArray[np.float32]
    neighbours: Tokens


@dataclass(frozen=True)
class Accepted:
    """The chances of n drafts, and what is drawn where one is not kept.

    Attributes:
        chances: Float64[n], with which each draft token stays.
        residuals: Float64[n, V], weights of the codes that may take its place; where all are 0, p takes theirs.
    """

    chances: Probs
    residuals: Probs


def at_most_one(own: Probs, drawn: Probs) -> Probs:
    """Return min(1, own / drawn), Float64[n]; where nothing is drawn, 1 if own is above 0, else 0 (ACCEPT-2)."""
    chances: Probs = np.divide(own, drawn, out=(own > 0).astype(np.float64), where=drawn > 0)
    return np.minimum(chances, 1)
