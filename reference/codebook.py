"""Codebook neighbourhoods and the probability pooled over them (POOL-1)."""

from dataclasses import dataclass

import torch
from torch import Tensor


def nearest_codes(features: Tensor, vectors: Tensor) -> Tensor:
    """Return the nearest code of each feature, Int[B, H, W]; ties go to the lower code.

    Args:
        features: Float[B, H, W, d], of unit length: the largest product is the smallest Euclidean distance.
        vectors: Float[V, d], of unit length.
    """
    # Three dimensions, not four: TensorRT for RTX builds no 4-D normalise -> MatMul -> ArgMax.
    batch, height, width, dim = features.shape
    products = features.reshape(batch, height * width, dim) @ vectors.t()
    return products.argmax(dim=-1).reshape(batch, height, width)


def neighbours(codebook: Tensor, k: int) -> Tensor:
    """Return B_k: for every code its k nearest, itself first, ties to the lower code (POOL-1).

    Args:
        codebook: Float[V, d]; Euclidean distance on the rows as given, so a normalising quantiser passes
            normalised rows.
        k: How many, the code itself included.

    Returns:
        Int[V, k].

    Raises:
        ValueError: k is not in 1..V.
    """
    codes = len(codebook)
    if not 1 <= k <= codes:
        raise ValueError(f"neighbours: expected a number in 1..{codes} (the codebook's size), got {k}")
    rows = codebook.double()
    order = torch.empty(codes, k, dtype=torch.long)
    for code in range(codes):
        squared = (rows - rows[code]).square().sum(dim=1)
        squared[code] = -1.0  # the code itself comes first, equal codes elsewhere notwithstanding
        order[code] = squared.argsort(stable=True)[:k]
    return order


@dataclass(frozen=True)
class Codes:
    """The codebook as a decode uses it.

    Attributes:
        vectors: Float[V, d], as the quantiser compares them.
        neighbours: Int[V, k], POOL-1.
    """

    vectors: Tensor
    neighbours: Tensor


def pooled_probs(target_probs: Tensor, draft_tokens: Tensor, neighbours: Tensor) -> Tensor:
    """Return the target's probability of each draft token's neighbourhood, added in its order (POOL-1).

    Args:
        target_probs: Float[T, V].
        draft_tokens: Int[T].
        neighbours: Int[V, k].

    Returns:
        Float[T].
    """
    near = target_probs.gather(1, neighbours[draft_tokens])  # Float[T, k]
    total = near[:, 0].clone()
    for column in range(1, near.shape[1]):
        total += near[:, column]
    return total
