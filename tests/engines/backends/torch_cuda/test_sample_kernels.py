"""The kernels of sampling under Triton's interpreter, on the CPU: they answer as the host's own arithmetic does."""

import sys
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mulo_sd.engines import Distribution
from mulo_sd.engines.backends.array_scores import ArrayScores, log_probs
from mulo_sd.engines.backends.base import Wanted
from mulo_sd.engines.backends.torch_cuda.scores import Sampling, TorchScores
from mulo_sd.engines.backends.torch_cuda.work import DeviceWork
from mulo_sd.engines.rules.anchor import Anchor
from mulo_sd.engines.rules.noise import NoiseSource, uniform_noise

CELLS, STREAM = 4096, 4
VOCABULARIES = (50, 256)
CHOSEN: dict[str, dict[str, Any]] = {
    "all codes": {},
    "greedy": {"temperature": 0.0, "top_k": 3},
    "top-k": {"top_k": 7, "temperature": 0.7},
    "top-p": {"top_p": 0.8},
    "both": {"top_k": 12, "top_p": 0.7, "temperature": 1.3},
    "one code": {"top_k": 1, "top_p": 1e-6},
    "as many as there are": {"top_k": 1000},
}


class Case(NamedTuple):
    """The same logits on both sides."""

    ours: TorchScores
    theirs: ArrayScores
    logits: NDArray[np.float32]
    rows: NDArray[np.int64]
    cells: NDArray[np.int64]


@pytest.fixture(scope="module")
def sampling(interpreter: Any) -> Any:
    """What samples by kernels, of which the interpreter makes Python functions."""
    found = Sampling(DeviceWork(torch.device("cpu")))
    found.use_kernels({64})
    assert found.notes == []
    return found


def case(sampling: Sampling, vocabulary: int, batch: int, ties: bool, seed: int = 1) -> Case:
    """Return logits, of which many are equal where there are ties, asked for rows with gaps."""
    generator = np.random.default_rng(seed)
    logits = 2 * generator.standard_normal((batch, 9, vocabulary), dtype=np.float32)
    logits = np.round(logits) if ties else logits
    tensor = torch.from_numpy(logits.copy())
    rows = np.array([0, 1, 3, 8])
    return Case(TorchScores(sampling, tensor), ArrayScores(logits), logits, rows, np.array([0, 5, 77, CELLS - 1]))


@pytest.mark.parametrize(("batch", "ties"), [(1, True), (2, False), (2, True)])
@pytest.mark.parametrize("chosen", CHOSEN)
@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_tokens_and_judgements(sampling: Any, vocabulary: int, chosen: str, batch: int, ties: bool) -> None:
    """With and without an anchor, by rough noise and by exact noise; log p; pooled probabilities and entropies."""
    made = case(sampling, vocabulary, batch, ties)
    processed = Distribution(**({"guidance_scale": 2.0} | CHOSEN[chosen]))
    generator = np.random.default_rng(3)
    codes = generator.standard_normal((vocabulary, 8), dtype=np.float32)
    codes /= np.linalg.norm(codes, axis=1, keepdims=True)
    anchor = Anchor(3.0, codes, generator.integers(0, vocabulary, CELLS), 0)
    source, kernels = NoiseSource(2**40 + 7, STREAM, CELLS, vocabulary), sampling.kernels
    for used in (None, anchor):
        expected = made.theirs.sample(made.rows, made.cells, processed, source, used)
        for near in (kernels.near, 1e6):
            before, kernels.near = kernels.near, near
            found = made.ours.sample(made.rows, made.cells, processed, source, used)
            kernels.near = before
            assert found.dtype == np.int64
            assert found.tolist() == expected.tolist()
    mine = kernels.log_probs(made.ours.tensor, made.rows, processed).numpy()
    theirs = log_probs(made.logits[:, made.rows], processed)
    np.testing.assert_array_equal(np.isneginf(mine), np.isneginf(theirs))
    np.testing.assert_allclose(np.exp(mine), np.exp(theirs), atol=1e-6)
    drafts, neighbours = generator.integers(0, vocabulary, 4), generator.integers(0, vocabulary, (vocabulary, 5))
    for distribution in (processed, processed.raw()):
        mine_judged = made.ours.judge(made.rows, distribution, drafts, neighbours)
        theirs_judged = made.theirs.judge(made.rows, distribution, drafts, neighbours)
        for name in ("pooled_probs", "entropies"):
            np.testing.assert_allclose(vars(mine_judged)[name], vars(theirs_judged)[name], atol=1e-4)
    assert sampling.notes == []


@pytest.mark.parametrize("stream", [0, 7])
@pytest.mark.parametrize("seed", [0, 3, 7 * 2**32 + 9, 2**64 - 1])
def test_tokens_of_any_seed_and_stream(sampling: Any, seed: int, stream: int) -> None:
    made, source = case(sampling, 100, 2, ties=False), NoiseSource(seed, stream, CELLS, 100)
    expected = made.theirs.sample(made.rows, made.cells, Distribution(), source, None)
    assert made.ours.sample(made.rows, made.cells, Distribution(), source, None).tolist() == expected.tolist()


def test_a_row_of_16384_codes(sampling: Any) -> None:
    made = case(sampling, 16384, 2, ties=False)
    processed = Distribution(guidance_scale=7.5, top_k=1000, temperature=0.9)
    source = NoiseSource(5, 0, CELLS, 16384)
    expected = made.theirs.sample(made.rows, made.cells, processed, source, None)
    assert made.ours.sample(made.rows, made.cells, processed, source, None).tolist() == expected.tolist()


@pytest.mark.parametrize("seed", [3, 7 * 2**32 + 9])
def test_noise(sampling: Any, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The integers to the bit, the noise to the last place, and the rough noise as near as is said of it."""
    import triton
    import triton.language as tl

    from mulo_sd.engines.backends.torch_cuda.kernels import sample_noise

    # The interpreter looks for names in the module alone.
    monkeypatch.setitem(globals(), "tl", tl)
    monkeypatch.setitem(globals(), "sample_noise", sample_noise)

    @triton.jit  # type: ignore[untyped-decorator]  # it has no types
    def kernel(own_ptr: Any, words_ptr: Any, noise_ptr: Any, rough_ptr: Any, count: tl.constexpr) -> None:
        places = tl.arange(0, count)
        words = sample_noise.philox_words(own_ptr, tl.load(own_ptr + 1), tl.full((), 0, tl.int32), count)
        tl.store(words_ptr + places, words.to(tl.int32, bitcast=True))
        tl.store(noise_ptr + places, sample_noise.gumbel(words))
        tl.store(rough_ptr + places, sample_noise.rough_gumbel(words))

    count, cell = 16384, 1023
    own = torch.zeros(8, dtype=torch.int32)
    own.numpy().view(np.uint32)[[4, 5, 6, 1]] = seed % 2**32, seed // 2**32, STREAM, cell
    words = torch.zeros(count, dtype=torch.int32)
    noise, rough = torch.zeros(2, count)
    kernel[(1,)](own, words, noise, rough, count)
    expected = uniform_noise(seed, STREAM, np.array([cell]), count)[0]
    assert np.array_equal(words.numpy().view(np.uint32), (expected * 2.0**32 - 0.5).astype(np.uint32))
    gumbel = NoiseSource(seed, STREAM, CELLS, count).rows([cell])[0]
    np.testing.assert_array_max_ulp(noise.numpy(), gumbel, 1)
    np.testing.assert_allclose(rough.numpy(), gumbel, atol=1e-4)


def test_scores_of_16_bits_and_parts(sampling: Any) -> None:
    """Logits in the model's own precision, and rows of a pass that others shared."""
    made, source = case(sampling, 100, 2, ties=False), NoiseSource(1, 0, CELLS, 100)
    for dtype in (torch.float16, torch.bfloat16):
        tensor = torch.cat([torch.zeros(2, 9, 100), torch.from_numpy(made.logits)]).to(dtype)
        rounded = ArrayScores(tensor[2:, :9].float().numpy())
        expected = rounded.sample(made.rows, made.cells, Distribution(), source, None)
        found = TorchScores(sampling, tensor).part(2, 2, 9).sample(made.rows, made.cells, Distribution(), source, None)
        assert found.tolist() == expected.tolist()


@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("anchored", [False, True])
def test_samples_of_several_decodes(
    sampling: Any, anchored: bool, guided: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One launch for rows of three images in one pass, each by its own noise towards its own draft."""
    generator, batch, vocabulary = np.random.default_rng(8), 1 + guided, 100
    logits = 2 * generator.standard_normal((3 * batch, 9, vocabulary), dtype=np.float32)
    whole, distribution = TorchScores(sampling, torch.from_numpy(logits)), Distribution(2.0 if guided else 1.0, 0.8)
    codes = generator.standard_normal((vocabulary, 8), dtype=np.float32)
    wanted, expected = [], []
    for number, rows in enumerate(([0], [1, 4, 5], [2, 8])):
        first, places = number * batch, np.array(rows)
        cells = places + 100 * number
        noise = NoiseSource(2**63 + number, number, CELLS, vocabulary)
        anchor = Anchor(2.0, codes, generator.integers(0, vocabulary, CELLS), number) if anchored else None
        wanted.append(Wanted(whole.part(first, batch, 9), first, batch, places, cells, noise, anchor))
        alone = ArrayScores(logits[first : first + batch])
        expected.append(alone.sample(places, cells, distribution, noise, anchor).tolist())
    rows_of_launches, sample = [], sampling.kernels.sample

    def counted(*given: Any, **named: Any) -> Any:
        rows_of_launches.append(len(given[1]))
        return sample(*given, **named)

    monkeypatch.setattr(sampling.kernels, "sample", counted)
    assert [tokens.tolist() for tokens in whole.sample_together(wanted, distribution)] == expected
    assert rows_of_launches == [6]


@pytest.mark.parametrize(
    ("equal", "top_k", "top_p", "kept"),
    [
        (4, 0, 0.5, 3),
        (2, 0, 0.5, 2),
        (8, 0, 0.25, 3),
        (16, 0, 2**-24, 1),
        (1, 0, 0.5, 1),
        (4, 4, 0.75, 4),
        (50, 0, 0.5, 26),
    ],
)
def test_top_p_where_sums_meet_it(sampling: Any, equal: int, top_k: int, top_p: float, kept: int) -> None:
    """DIST-1: a code stays where the more likely ones sum to top-p exactly, of equal codes the lower ones."""
    logits = np.full((1, 9, 50), -300, dtype=np.float32)
    logits[..., 50 - equal :] = 1.5
    found = sampling.kernels.log_probs(
        torch.from_numpy(logits), np.arange(2), Distribution(guidance_scale=1, top_k=top_k, top_p=top_p)
    )
    expected = np.arange(50 - equal, 50)[:kept].tolist()
    assert [np.flatnonzero(row > -np.inf).tolist() for row in found.numpy()] == [expected] * 2


@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf])
@pytest.mark.parametrize("chosen", CHOSEN)
def test_logits_that_are_not_finite(sampling: Any, chosen: str, value: float) -> None:
    """Their row's token is -1, its probabilities are NaN; the other rows are answered."""
    distribution, rows = Distribution(**({"guidance_scale": 2.0} | CHOSEN[chosen])), np.arange(3)
    logits = np.random.default_rng(5).standard_normal((2, 3, 50), dtype=np.float32)
    logits[1, 1, 7] = value
    scores = TorchScores(sampling, torch.from_numpy(logits))
    with np.errstate(invalid="ignore"):  # the interpreter computes in numpy
        tokens = scores.sample(rows, rows, distribution, NoiseSource(1, 0, CELLS, 50), None)
        pooled = scores.judge(rows, distribution, rows, np.arange(50)[:, None]).pooled_probs
        _, log_probs = scores.draw(rows, distribution, np.zeros((3, 50), dtype=np.float32))
    assert (tokens < 0).tolist() == [False, True, False]
    assert np.isnan(pooled).tolist() == [False, True, False]
    assert np.isnan(log_probs).any(axis=1).tolist() == np.isnan(log_probs).all(axis=1).tolist() == [False, True, False]
    assert sampling.notes == []


def test_kernels_that_fail_are_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    for name in ("sample_check", "sample_launch", "kernels.sample"):
        monkeypatch.delitem(sys.modules, f"mulo_sd.engines.backends.torch_cuda.{name}", raising=False)
    found = Sampling(DeviceWork(torch.device("cpu")))
    found.use_kernels({32})
    assert found.kernels is None
    assert "torch's own operations are used" in found.notes[0]
    made, source = case(found, 32, 2, ties=False), NoiseSource(1, 0, CELLS, 32)
    expected = made.theirs.sample(made.rows, made.cells, Distribution(), source, None)
    assert made.ours.sample(made.rows, made.cells, Distribution(), source, None).tolist() == expected.tolist()
