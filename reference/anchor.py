"""Anchored resampling: a resampled token is drawn towards its draft (ANCHOR-1)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Anchor:
    """What resampled tokens are drawn towards.

    A token drawn from p alone knows nothing of what was kept to its right and below; its draft does, for the
    up-sampler saw the whole image. So v is drawn from p_u(v) * exp(strength * similarity(v, draft_u)), renormalised:
    a product of what the target and what the draft say. Strength 0 is the paper's rule.

    Attributes:
        strength: Nats between a code of similarity 1 and one of similarity 0.
        codes: Float[V, d], as the quantiser compares them: normalised, so that a product is a cosine.
        draft_tokens: Int[n], of n cells from `first_cell` on.
        first_cell: Grid position.
    """

    strength: float
    codes: Tensor
    draft_tokens: Tensor
    first_cell: int

    def bonus(self, cells: Sequence[int]) -> Tensor:
        """Return what is added to log p of the given cells, Float32[n, V], in nats."""
        drafts = self.codes[self.draft_tokens[torch.tensor(cells) - self.first_cell]]
        return (self.strength * (drafts @ self.codes.t())).float()
