"""Top-p where sums meet it exactly (DIST-1): every implementation keeps what published code keeps.

Published code drops a code where the sum of the more likely ones exceeds top-p, and keeps it where it equals top-p. The
probabilities here are powers of two, so that no implementation rounds.
"""

from collections.abc import Callable
from unittest.mock import patch

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from mulo_sd.conformance.mutants.arithmetic import Arithmetic
from mulo_sd.conformance.rules import oracles
from mulo_sd.engines.backends.array_scores import log_probs as host_log_probs
from mulo_sd.engines.backends.host_scores import distribution_inputs
from mulo_sd.engines.backends.torch_cuda.sampling import log_probs as device_log_probs
from mulo_sd.engines.settings import Settings
from mulo_sd.export.graphs import sampling
from mulo_sd.reference.sampling import target_log_probs

# Equal codes, how many others are far below them, top-k, top-p, and which of the equal ones are kept: the lowest.
CASES = (
    (4, 0, 0, 0.5, 3),
    (2, 0, 0, 0.5, 2),
    (8, 0, 0, 0.25, 3),
    (8, 0, 0, 0.125, 2),
    (16, 0, 0, 0.75, 13),
    (16, 0, 0, 2**-24, 1),
    (1, 0, 0, 0.5, 1),
    (4, 0, 4, 0.25, 2),
    (4, 12, 0, 0.5, 3),
    (4, 12, 4, 0.75, 4),
    (8, 24, 3, 0.875, 8),
)
FAR_BELOW = -300.0
Floats = NDArray[np.float32]


def published(logits: Tensor, top_k: int, top_p: float) -> Tensor:
    """Filter as LlamaGen's `top_k_top_p_filtering` does, in its order of operations."""
    if top_k > 0:
        logits = logits.masked_fill(
            logits < torch.topk(logits, min(top_k, logits.size(-1)))[0][..., -1, None], -torch.inf
        )
    ranked, order = torch.sort(logits, descending=True, stable=True)
    removed = torch.cumsum(ranked.softmax(dim=-1), dim=-1) > top_p
    removed[..., 1:] = removed[..., :-1].clone()
    removed[..., 0] = False
    return logits.masked_fill(removed.scatter(1, order, removed), -torch.inf)


def by_reference(logits: Floats, settings: Settings) -> Floats:
    found = target_log_probs(torch.from_numpy(logits), None, 1.0, 1.0, settings.top_k, settings.top_p)
    return found.numpy()


def by_rules(logits: Floats, settings: Settings) -> Floats:
    rows = [oracles.probs(row, top_k=settings.top_k, top_p=settings.top_p) for row in logits.tolist()]
    with np.errstate(divide="ignore"):
        return np.log(np.array(rows, dtype=np.float32))


def by_host(logits: Floats, settings: Settings) -> Floats:
    return host_log_probs(logits[None], settings.distribution)


def by_torch_cuda(logits: Floats, settings: Settings) -> Floats:
    return device_log_probs(torch.from_numpy(logits)[None], 1.0, 1.0, settings.top_k, settings.top_p).numpy()


def by_mutants_arithmetic(logits: Floats, settings: Settings) -> Floats:
    return Arithmetic().log_probs(distribution_inputs(logits[None], settings.distribution))


def by_graph(max_ranked: int) -> Callable[[Floats, Settings], Floats]:
    def run(logits: Floats, settings: Settings) -> Floats:
        inputs = distribution_inputs(logits[None], settings.distribution) | {"noise": np.zeros_like(logits)}
        with patch.object(sampling, "MAX_RANKED", max_ranked):
            _, found = sampling.SamplerGraph()(**{name: torch.from_numpy(value) for name, value in inputs.items()})
        kept: Floats = found.numpy()
        return kept

    return run


WAYS = {
    "reference": by_reference,
    "rules": by_rules,
    "host": by_host,
    "torch-cuda": by_torch_cuda,
    "mutants": by_mutants_arithmetic,
    "graph by rank": by_graph(3840),
    "graph by search": by_graph(0),
}


def rows_of(equal: int, below: int) -> Floats:
    """Return logits of which `equal` are the largest, before, behind and among the others, Float32[3, V]."""
    row = np.concatenate([np.full(equal, 1.5), FAR_BELOW - np.arange(below)]).astype(np.float32)
    mixed = np.random.default_rng(equal + below).permutation(row)
    return np.stack([row, row[::-1], mixed])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("equal", "below", "top_k", "top_p", "kept"), CASES)
def test_a_code_stays_where_the_sum_before_it_is_top_p(
    way: str, equal: int, below: int, top_k: int, top_p: float, kept: int
) -> None:
    logits = rows_of(equal, below)
    found = WAYS[way](logits, Settings(guidance_scale=1, top_k=top_k, top_p=top_p))
    for row, own in zip(logits, found, strict=True):
        expected = np.flatnonzero(row == 1.5)[:kept]  # of equal logits the lower code ranks first
        assert np.flatnonzero(np.isfinite(own)).tolist() == expected.tolist()
        np.testing.assert_allclose(own[expected], -np.log(kept), rtol=1e-6)


@pytest.mark.parametrize(("equal", "below", "top_k", "top_p", "kept"), CASES)
def test_published_code_keeps_as_many(equal: int, below: int, top_k: int, top_p: float, kept: int) -> None:
    logits = torch.from_numpy(rows_of(equal, below).copy())
    assert torch.isfinite(published(logits, top_k, top_p)).sum(dim=-1).tolist() == [kept] * 3


def test_random_logits_as_published_code() -> None:
    """The reference's sets are published code's to the last code, rounding included."""
    logits = torch.randn(200, 300, generator=torch.Generator().manual_seed(4)) * 3
    for top_k, top_p in ((0, 0.9), (0, 0.3), (50, 0.95), (7, 0.5), (0, 1e-7), (0, 1 - 2**-24)):
        expected = torch.isfinite(published(logits, top_k, top_p))
        assert torch.equal(torch.isfinite(target_log_probs(logits, top_k=top_k, top_p=top_p)), expected)
