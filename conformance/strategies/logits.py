"""Logits with exact ties, and the settings that turn them into a distribution."""

from typing import NamedTuple

import hypothesis.strategies as st
import torch
from torch import Tensor

from mulo_sd.conformance.rules import oracles


class Logits(NamedTuple):
    """One position's logits, both ways, and DIST-1's settings.

    All numbers but `top_p` are short binary fractions, so guidance and temperature round nothing and ties
    stay ties; `top_p` lies well between two sums of probabilities, or is one where those round nothing.
    """

    cond: tuple[float, ...]
    uncond: tuple[float, ...] | None
    guidance_scale: float
    temperature: float
    top_k: int
    top_p: float

    def cond_tensor(self, dtype: torch.dtype = torch.float64) -> Tensor:
        """Float[V]."""
        return torch.tensor(self.cond, dtype=dtype)

    def uncond_tensor(self, dtype: torch.dtype = torch.float64) -> Tensor | None:
        """Float[V], or None without guidance."""
        return None if self.uncond is None else torch.tensor(self.uncond, dtype=dtype)


def one_row(codes: int) -> st.SearchStrategy[tuple[float, ...]]:
    """Rows of quarters in -3..3: ties are common."""
    quarters = st.integers(-12, 12).map(lambda number: number / 4)
    return st.lists(quarters, min_size=codes, max_size=codes).map(tuple)


@st.composite
def logits(draw: st.DrawFn, max_codes: int = 12) -> Logits:
    """Logits of 1 to `max_codes` codes with any mix of guidance, temperature, top-k and top-p."""
    codes = draw(st.integers(1, max_codes))
    cond = draw(one_row(codes))
    uncond = draw(st.none() | one_row(codes))
    scale = draw(st.sampled_from((0.0, 0.5, 1.0, 1.5, 2.0, 4.0))) if uncond is not None else 1.0
    temperature = draw(st.sampled_from((0.0, 0.5, 1.0, 2.0)))
    top_k = draw(st.integers(0, codes + 1))
    before_filter = oracles.probs(cond, uncond, scale, temperature, top_k)
    return Logits(cond, uncond, scale, temperature, top_k, draw(thresholds(before_filter)))


@st.composite
def thresholds(draw: st.DrawFn, target_probs: list[float]) -> float:
    """Values of top-p that some likely token crosses clearly, or that a sum of equal powers of two meets, or 1."""
    if draw(st.booleans()):
        return 1.0
    ranked = sorted(target_probs, reverse=True)
    crossing = draw(st.sampled_from([rank for rank, prob in enumerate(ranked) if prob > 1e-3]))
    likely = [prob for prob in ranked if prob > 0]
    is_exact = len(set(likely)) == 1 and len(likely) in (2, 4, 8)
    shares = (0.0, 0.1, 0.5, 0.9) if is_exact and crossing else (0.1, 0.5, 0.9)
    return sum(ranked[:crossing]) + draw(st.sampled_from(shares)) * ranked[crossing]
