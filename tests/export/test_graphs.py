"""Graphs in torch against the reference's functions, without any export."""

from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mulo_sd.export.graphs import sampling
from mulo_sd.export.graphs.sampling import AcceptanceGraph, SamplerGraph
from mulo_sd.export.graphs.slots import append_slots
from mulo_sd.reference.codebook import pooled_probs
from mulo_sd.reference.radius import entropy
from mulo_sd.reference.sampling import target_log_probs

CODES = 13


@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 4),
    scale=st.sampled_from([1.0, 1.5, 7.5]),
    temperature=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    top_k=st.integers(0, CODES + 1),
    top_p=st.sampled_from([0.01, 0.3, 0.7, 0.95, 1.0]),
    distinct=st.integers(1, 30),
    max_ranked=st.sampled_from([0, CODES]),
)
def test_distribution(
    seed: int, rows: int, scale: float, temperature: float, top_k: int, top_p: float, distinct: int, max_ranked: int
) -> None:
    """DIST-1: the graphs keep the tokens that the reference keeps, with its probabilities, ties included.

    By sorting and by searching, which is for more codes than can be sorted.
    """
    with patch.object(sampling, "MAX_RANKED", max_ranked):
        same_distribution(seed, rows, scale, temperature, top_k, top_p, distinct)


def same_distribution(
    seed: int, rows: int, scale: float, temperature: float, top_k: int, top_p: float, distinct: int
) -> None:
    """Compare both graphs with the reference for one draw of logits."""
    rng = np.random.default_rng(seed)
    # Few distinct values make ties; halves are exact in float32.
    cond, uncond = (torch.from_numpy(rng.integers(0, distinct, (rows, CODES)) / 2).float() for _ in range(2))
    expected = target_log_probs(cond, uncond, scale, temperature, top_k, top_p)
    settings = (torch.tensor(scale), torch.tensor(temperature), torch.tensor(top_k), torch.tensor(top_p))
    noise = torch.from_numpy(rng.gumbel(size=(rows, CODES))).float()
    tokens, log_probs = SamplerGraph()(cond, uncond, noise, *settings)
    assert torch.equal(torch.isfinite(log_probs), torch.isfinite(expected))
    kept = torch.isfinite(expected)
    assert torch.allclose(log_probs[kept], expected[kept], atol=1e-5)
    assert torch.equal(tokens, (expected + noise).argmax(dim=-1))
    draft = torch.from_numpy(rng.integers(0, CODES, rows))
    near = torch.from_numpy(np.stack([rng.permutation(CODES)[:4] for _ in range(CODES)]))
    pooled, judged, entropies = AcceptanceGraph()(cond, uncond, *settings, draft, near)
    assert torch.allclose(pooled, pooled_probs(expected.exp(), draft, near), atol=1e-6)
    assert torch.equal(judged, log_probs)
    assert torch.allclose(entropies, entropy(expected), atol=1e-5)
    assert not entropies.isnan().any()  # of codes without probability, greedy ones included


@pytest.mark.parametrize("spread", [0.01, 3.0, 40.0])
def test_as_many_codes_as_vq_16_has(spread: float) -> None:
    """Searched thresholds keep the reference's sets, but for a code at the edge of top-p where rounding decides."""
    generator = torch.Generator().manual_seed(3)
    cond, uncond = torch.randn(2, 16, 16384, generator=generator) * spread
    for top_k, top_p in ((0, 1.0), (1000, 1.0), (0, 0.9), (2000, 0.5), (1, 1.0), (0, 1e-6)):
        expected = target_log_probs(cond, uncond, 1.5, 1.0, top_k, top_p)
        settings = (torch.tensor(1.5), torch.tensor(1.0), torch.tensor(top_k), torch.tensor(top_p))
        tokens, log_probs = SamplerGraph()(cond, uncond, torch.zeros_like(cond), *settings)
        others = (torch.isfinite(log_probs) != torch.isfinite(expected)).sum(dim=-1)
        assert int(others.max()) <= (0 if top_p == 1 else 3)
        same = others == 0
        kept = torch.isfinite(expected[same])
        assert torch.allclose(log_probs[same][kept], expected[same][kept], atol=1e-4)
        assert torch.equal(tokens, expected.argmax(dim=-1))


@pytest.mark.parametrize("start", [0, 3, 6])
def test_append_slots(start: int) -> None:
    """The operator writes consecutive slots and nothing else, and leaves its input alone."""
    cache, update = torch.randn(2, 3, 8, 4), torch.randn(2, 3, 2, 4)
    before = cache.clone()
    updated = append_slots(cache, update, torch.tensor([start, start]))
    assert torch.equal(cache, before)
    assert torch.equal(updated[:, :, start : start + 2], update)
    others = [slot for slot in range(8) if not start <= slot < start + 2]
    assert torch.equal(updated[:, :, others], before[:, :, others])
