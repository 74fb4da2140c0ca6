"""Anchored resampling (ANCHOR-1); the engines' twin of `reference.anchor`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Anchor:
    """What resampled tokens are drawn towards.

    Attributes:
        strength: Bonus in nats, the difference between a code of similarity 1 and one of similarity 0.
        codes: Float32[V, d], normalised.
        draft_tokens: Int[n], of the n cells from `first_cell` on.
        first_cell: Grid position of the first draft token.
    """

    strength: float
    codes: NDArray[np.float32]
    draft_tokens: NDArray[np.int64]
    first_cell: int

    def bonus(self, cells: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """Return what is added to log p of some cells, Float32[n, V], in nats."""
        drafts = self.codes[self.draft_tokens[np.asarray(cells) - self.first_cell]]
        bonus: NDArray[np.float32] = np.float32(self.strength) * (drafts @ self.codes.T)
        return bonus
