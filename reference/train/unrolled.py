"""Attention of a head that is trained as it drafts: from the target's features first, then from its own.

A draft of depth j attends to what the target has decided, by keys of the target's features, and to the drafts between,
by keys of the head's own. Training runs all positions at every depth at once: pass j of a sequence takes the place of
the j-th draft at each of its positions (arXiv 2408.15766).
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def _later(x: Tensor, by: int) -> Tensor:
    """Return x, Float[B, heads, T, head_dim], moved `by` positions to the right; zeros come in."""
    return F.pad(x, (0, 0, by, 0))[:, :, : x.shape[2]]


class UnrolledAttention:
    """Keeps each pass's keys and values: a query of pass j at t sees pass 1 to t - j + 1, and pass i at t - j + i."""

    def __init__(self) -> None:
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []

    def attend(self, _layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend, each Float[B, heads, T, head_dim] -> the same."""
        self.keys.append(key)
        self.values.append(value)
        depth, length = len(self.keys), query.shape[2]
        if depth == 1:
            return F.scaled_dot_product_attention(query, key, value, is_causal=True)
        query = query / query.shape[3] ** 0.5
        decided = torch.ones(length, length, dtype=torch.bool, device=query.device).tril(1 - depth)
        scores = [(query @ self.keys[0].transpose(2, 3)).masked_fill(~decided, -torch.inf)]
        places = torch.arange(length, device=query.device)
        for number in range(1, depth):
            distance = depth - 1 - number
            score = (query * _later(self.keys[number], distance)).sum(-1, keepdim=True)
            scores.append(score.masked_fill(places[:, None] < distance, -torch.inf))
        shares = torch.cat([score.float() for score in scores], dim=-1).softmax(-1).to(value.dtype)
        mixed = shares[..., :length] @ self.values[0]
        for number in range(1, depth):
            share = shares[..., length + number - 1, None]
            mixed = mixed + share * _later(self.values[number], depth - 1 - number)
        return mixed
