"""Noise, filters and scores of the backend in torch are the host's and the reference's."""

import gc
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from mulo_sd import engines
from mulo_sd.engines.backends.host_scores import HostScores
from mulo_sd.engines.backends.torch_cuda.noise import NoiseTables, words
from mulo_sd.engines.backends.torch_cuda.sampling import log_probs
from mulo_sd.engines.backends.torch_cuda.scores import Sampling, TorchScores
from mulo_sd.engines.backends.torch_cuda.work import DeviceWork
from mulo_sd.engines.rules.anchor import Anchor
from mulo_sd.engines.rules.noise import NoiseSource, uniform_noise
from mulo_sd.reference.sampling import target_log_probs
from tests.engines.backends.torch_cuda.small_decodes import (
    CODES,
    Small,
)


@pytest.mark.parametrize("top_p", [1.0, 0.7])
@pytest.mark.parametrize("top_k", [0, 1, 6])
def test_filters_keep_what_the_reference_keeps(top_k: int, top_p: float) -> None:
    """Equal logits, of which there are many, rank by code."""
    logits = torch.randint(-3, 4, (2, 50, CODES), generator=torch.Generator().manual_seed(1)).float()
    for temperature in (0.0, 0.5, 1.0):
        expected = target_log_probs(logits[0], logits[1], 1.5, temperature, top_k, top_p)
        torch.testing.assert_close(log_probs(logits, 1.5, temperature, top_k, top_p), expected)
        one = log_probs(logits[:, :1], 1.5, temperature, top_k, top_p)
        torch.testing.assert_close(one, expected[:1])


def test_noise_is_the_hosts() -> None:
    """The integers to the bit, and what is made of them, whichever block is asked for first."""
    seed, positions = 2**64 - 3, np.array([0, 1, 77, 4095])
    found = words(seed, 5, torch.from_numpy(positions), 10)
    expected = (uniform_noise(seed, 5, positions, 10) * 2.0**32 - 0.5).astype(np.int64)
    assert found.numpy().tolist() == expected.tolist()
    source, tables = NoiseSource(9, 2, 600, 50), NoiseTables(torch.device("cpu"))
    table = tables.of(source)
    for cells in ([599], [0, 3, 300]):
        rows = table.through(cells[0], cells[-1])[cells].numpy()
        assert rows.dtype == np.float32
        np.testing.assert_array_max_ulp(rows, source.rows(cells), 1)
    assert tables.of(source) is table
    del source
    gc.collect()
    assert len(tables.tables) == 0


def test_scores_answer_as_the_hosts_do(small: Callable[[str], Small]) -> None:
    """Rows with gaps, one row, an anchor, raw probabilities; the last row's scores outlive a pass."""
    made, generator = small("demo"), np.random.default_rng(4)
    logits = generator.standard_normal((2, 6, CODES), dtype=np.float32)
    theirs, ours = HostScores(made.plain, logits), TorchScores(made.ours.sampling, torch.from_numpy(logits.copy()))
    processed = engines.Distribution(guidance_scale=2.0, temperature=0.7, top_k=20)
    source = NoiseSource(1, 0, 16, CODES)
    anchor = Anchor(3.0, made.bundle.codes, generator.integers(0, CODES, 16), 0)
    neighbours = made.bundle.neighbours[:, :4]
    for rows in (np.array([0, 2, 5]), np.array([1, 2, 3]), np.array([4])):
        cells = rows + 7
        for chosen in (None, anchor):
            expected = theirs.sample(rows, cells, processed, source, chosen)
            assert ours.sample(rows, cells, processed, source, chosen).tolist() == expected.tolist()
        tokens = generator.integers(0, CODES, len(rows))
        for distribution in (processed, processed.raw()):
            mine = ours.judge(rows, distribution, tokens, neighbours)
            other = theirs.judge(rows, distribution, tokens, neighbours)
            for name in ("pooled_probs", "entropies"):
                np.testing.assert_allclose(vars(mine)[name], vars(other)[name], atol=1e-5)
    last = ours.last()
    ours.tensor.zero_()
    assert np.array_equal(last.logits(), logits[:, -1:])


@pytest.mark.parametrize(
    ("error", "is_kept"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (torch.AcceleratorError("CUDA error: an illegal memory access"), True),
        (RuntimeError("no kernel for 3 codes"), False),
        (KeyError("float8"), False),
    ],
)
def test_kernels_are_given_up_for_what_they_cannot_do_alone(error: Exception, is_kept: bool) -> None:
    """Not where the device has no memory just then: later ones, with memory, would be slow for no reason."""
    sampling = Sampling(DeviceWork(torch.device("cpu")))
    kernels = sampling.kernels = cast(Any, SimpleNamespace(takes=lambda logits: True))

    def call(given: Any) -> int:
        raise error

    if is_kept:
        with pytest.raises(type(error)):
            sampling.by_kernels(torch.zeros(1), call)
    else:
        assert sampling.by_kernels(torch.zeros(1), call) is None
    assert (sampling.kernels is kernels) == is_kept
    assert len(sampling.notes) == (0 if is_kept else 1)
