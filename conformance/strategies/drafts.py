"""Drafts to judge: p, q and a token at every place of a window, a codebook, and the settings of rules of acceptance."""

from typing import NamedTuple

import hypothesis.strategies as st
import torch
from torch import Tensor

from mulo_sd.conformance.strategies.codebooks import Codebook, codebooks, distributions
from mulo_sd.reference.codebook import Codes, neighbours
from mulo_sd.reference.settings import Settings


class Drafts(NamedTuple):
    """The drafts of a window, from its left.

    Attributes:
        codebook: Of the codes.
        target_probs: p of each place.
        draft_probs: q of each place; 1 at the token where it is certain.
        draft_tokens: Each with a q above 0.
        settings: Of the rules.
    """

    codebook: Codebook
    target_probs: tuple[tuple[float, ...], ...]
    draft_probs: tuple[tuple[float, ...], ...]
    draft_tokens: tuple[int, ...]
    settings: Settings

    @property
    def codes(self) -> Codes:
        """The codebook as rules take it."""
        rows = self.codebook.tensor
        return Codes(rows, neighbours(rows, min(self.settings.neighbours, len(rows))))

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What rules take: p and q, Float64[n, V], tokens and places, Int[n]."""
        probs, draft_probs = (torch.tensor(rows, dtype=torch.float64) for rows in (self.target_probs, self.draft_probs))
        return probs, draft_probs, torch.tensor(self.draft_tokens), torch.arange(len(self.draft_tokens))


@st.composite
def rules_settings(draw: st.DrawFn) -> Settings:
    """Settings of rules of acceptance, their limits among them."""
    return Settings(
        tau=draw(st.sampled_from((0.2, 0.0, 0.5, 1.5))),
        neighbours=draw(st.integers(1, 5)),
        group=draw(st.integers(1, 12)),
        group_probability=draw(st.sampled_from((0.15, 0.0, 0.05, 1.0))),
        group_distance=draw(st.sampled_from((4.0, 0.5, 1.5))),
        anneal=draw(st.sampled_from((1.1, 1.0, 2.0, 0.5))),
        anneal_rate=draw(st.sampled_from((0.7, 0.0, 3.0))),
        lantern_neighbours=draw(st.integers(1, 12)),
        lantern_delta=draw(st.sampled_from((0.4, 0.0, 0.1, 1.0))),
        lantern_plus_neighbours=draw(st.integers(1, 12)),
        lantern_factor=draw(st.sampled_from((5.0, 1.0, 2.0, 20.0))),
        top_beta=draw(st.integers(1, 6)),
        top_tau=draw(st.sampled_from((0.5, 0.0, 1.0, 3.0))),
        typical_threshold=draw(st.sampled_from((0.09, 0.3, 0.0, 1.0))),
        typical_factor=draw(st.sampled_from((0.3, 1.0, 0.0, 1e6))),
    )


@st.composite
def drafts(draw: st.DrawFn) -> Drafts:
    """Windows of 1 to 4 drafts, certain ones among them."""
    codebook = draw(codebooks())
    codes, places = len(codebook.rows), draw(st.integers(1, 4))
    target, source, tokens = [], [], []
    for _ in range(places):
        probs = draw(distributions(codes))
        token = draw(st.sampled_from([code for code, prob in enumerate(probs) if prob > 0]))
        is_certain = draw(st.booleans())
        tokens.append(token)
        source.append(tuple(float(code == token) for code in range(codes)) if is_certain else probs)
        target.append(draw(st.just(probs) | distributions(codes)))
    return Drafts(codebook, tuple(target), tuple(source), tuple(tokens), draw(rules_settings()))
