"""Anchored resampling (ANCHOR-1); the engines' twin of `reference.anchor`."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# Draft tokens whose bonus is computed at once, and kept: sweeps ask for a cell's again and again.
BLOCK = 32


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
    _blocks: dict[int, NDArray[np.float32]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def bonus(self, cells: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """Return what is added to log p of some cells, Float32[n, V], in nats.

        A cell's is the same, bit by bit, whichever cells are asked for with it.
        """
        places = (np.asarray(cells) - self.first_cell).tolist()
        return np.stack([self._block(place // BLOCK)[place % BLOCK] for place in places])

    def drafts_at(self, cells: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the draft tokens of some cells, Int[n]."""
        drafts: NDArray[np.int64] = self.draft_tokens[cells - self.first_cell]
        return drafts

    def _block(self, number: int) -> NDArray[np.float32]:
        if number not in self._blocks:
            drafts = self.codes[self.draft_tokens[number * BLOCK : (number + 1) * BLOCK]]
            # No product of BLAS: so small a one would wait longest for its threads, above all on a busy machine.
            self._blocks[number] = np.float32(self.strength) * np.einsum("nd,vd->nv", drafts, self.codes)
        return self._blocks[number]
