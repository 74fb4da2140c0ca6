"""Codebooks with exact distances, and distributions over their codes."""

from typing import NamedTuple

import hypothesis.strategies as st
import torch
from torch import Tensor


class Codebook(NamedTuple):
    """Codes with small whole coordinates: distances are exact, equal ones and equal codes are common."""

    rows: tuple[tuple[int, ...], ...]

    @property
    def tensor(self) -> Tensor:
        """Float64[V, d]."""
        return torch.tensor(self.rows, dtype=torch.float64)


class Judgement(NamedTuple):
    """What acceptance looks at: a draft token and the target's distribution for each position."""

    codebook: Codebook
    target_probs: tuple[tuple[float, ...], ...]
    draft_tokens: tuple[int, ...]

    @property
    def probs_tensor(self) -> Tensor:
        """Float64[T, V]."""
        return torch.tensor(self.target_probs, dtype=torch.float64)

    @property
    def draft_tensor(self) -> Tensor:
        """Int[T]."""
        return torch.tensor(self.draft_tokens)


@st.composite
def codebooks(draw: st.DrawFn, max_codes: int = 12) -> Codebook:
    """Codebooks of 1 to `max_codes` codes in 1 to 3 dimensions."""
    dim = draw(st.integers(1, 3))
    row = st.tuples(*[st.integers(-3, 3)] * dim)
    return Codebook(tuple(draw(st.lists(row, min_size=1, max_size=max_codes))))


@st.composite
def distributions(draw: st.DrawFn, codes: int) -> tuple[float, ...]:
    """Distributions over `codes` codes: whole weights, zeros included, divided by their sum."""
    weights = draw(st.lists(st.integers(0, 20), min_size=codes, max_size=codes))
    weights[draw(st.integers(0, codes - 1))] += 1
    return tuple(weight / sum(weights) for weight in weights)


@st.composite
def judgements(draw: st.DrawFn, positions: int) -> Judgement:
    """Draft tokens and target distributions at so many positions."""
    codebook = draw(codebooks())
    codes = len(codebook.rows)
    rows = tuple(draw(distributions(codes)) for _ in range(positions))
    tokens = tuple(draw(st.lists(st.integers(0, codes - 1), min_size=positions, max_size=positions)))
    return Judgement(codebook, rows, tokens)
