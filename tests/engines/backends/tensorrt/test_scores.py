"""Scores stay on the device: they are those of the logits, and only tokens are downloaded."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mulo_sd import engines
from mulo_sd.engines.backends import BackendError
from mulo_sd.engines.backends.base import PartedScores, Wanted
from mulo_sd.engines.backends.host_scores import HostScores
from mulo_sd.engines.backends.tensorrt import scores as tensorrt_scores
from mulo_sd.engines.backends.tensorrt.backend import TensorRTBackend
from mulo_sd.engines.bundle import Bundle
from mulo_sd.engines.passes.transformer import TransformerSession
from mulo_sd.engines.rules.anchor import Anchor
from mulo_sd.engines.rules.noise import NoiseSource
from tests.engines.backends.tensorrt.minimal_decodes import PROFILES, Plain, with_plans
from tests.fakes.tensorrt import FakeEngine, Fakes


def test_logits_do_not_come_to_the_host(large_fakes: Fakes, minimal: Bundle) -> None:
    """A step downloads a token: less than a row of logits for a whole image."""
    bundle = with_plans(minimal, "trt-rtx")
    backend = TensorRTBackend(bundle, "trt-rtx")
    state = TransformerSession(backend, bundle.manifest.target, np.zeros((2, 12, 5), dtype=np.int64))
    state.prefill()
    noise, cuda = NoiseSource(1, 0, 64, 48), large_fakes.cuda
    row, one = np.zeros(1, dtype=np.int64), engines.Distribution(guidance_scale=2.0)
    for cell in range(8):
        scores = state.feed(np.array([cell]), np.array([3]))
        before = cuda.downloaded, cuda.synchronisations
        scores.sample(row, np.array([cell + 1]), one, noise, None)
        assert (cuda.downloaded, cuda.synchronisations) == (before[0] + 8, before[1] + 1)
    scores = state.feed(np.arange(8), np.arange(8))
    before = cuda.downloaded, cuda.synchronisations
    neighbours: NDArray[np.int64] = np.tile(np.arange(48)[:, None], 2)
    for _ in range(2):
        uploaded = cuda.uploaded
        scores.judge(np.arange(1, 7), one, np.arange(6), neighbours)
    assert cuda.uploaded - uploaded <= 6 * 8  # the draft: neighbours and settings are there
    assert (cuda.downloaded, cuda.synchronisations) == (before[0] + 2 * 6 * 8, before[1] + 2)


@pytest.mark.parametrize("rows", [[0], [2, 3, 4], [0, 4], [1, 3, 5, 7], [0, 1, 4, 6, 7]])
@pytest.mark.parametrize("batch", [1, 2])
def test_scores_are_those_of_the_logits(
    large_fakes: Fakes, minimal: Bundle, rows: list[int], batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows side by side, one below the other and scattered; with a table of noise on the device and without."""
    bundle = with_plans(minimal, "trt-rtx")
    backend = TensorRTBackend(bundle, "trt-rtx")
    state = TransformerSession(backend, bundle.manifest.target, np.zeros((batch, 12, 5), dtype=np.int64))
    first = state.prefill().last()
    scores = state.feed(np.arange(8), np.arange(8) * 2)
    host, asked = HostScores(Plain(minimal), scores.logits()), np.array(rows)
    distribution = engines.Distribution(guidance_scale=1.5, top_k=20)
    codes = np.random.default_rng(1).standard_normal((48, 4), dtype=np.float32)
    anchor = Anchor(1.0, codes, np.arange(40), 2)
    noise = NoiseSource(3, 0, 64, 48)
    neighbours = minimal.neighbours[:, :4]
    for _ in range(2):
        for towards in (None, anchor):
            sampled = scores.sample(asked, asked + 9, distribution, noise, towards)
            np.testing.assert_array_equal(sampled, host.sample(asked, asked + 9, distribution, noise, towards))
        monkeypatch.setattr(tensorrt_scores, "MAX_NOISE_BYTES", 0)
    for got, want in zip(
        (
            *scores.draw(asked, distribution, noise.rows(asked)),
            *vars(scores.judge(asked, distribution, asked, neighbours)).values(),
            *vars(scores.judge(asked, distribution.raw(), asked, neighbours)).values(),
        ),
        (
            *host.draw(asked, distribution, noise.rows(asked)),
            *vars(host.judge(asked, distribution, asked, neighbours)).values(),
            *vars(host.judge(asked, distribution.raw(), asked, neighbours)).values(),
        ),
        strict=True,
    ):
        np.testing.assert_array_equal(got, want)
    kept = first.logits()
    state.feed(np.arange(8, 20), np.arange(12))
    np.testing.assert_array_equal(first.logits(), kept)


@pytest.mark.parametrize(("most", "runs"), [(64, 1), (5, 2), (3, 2)])
@pytest.mark.parametrize("anchored", [False, True])
@pytest.mark.parametrize("batch", [1, 2])
def test_samples_of_several_decodes(
    large_fakes: Fakes,
    minimal: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    batch: int,
    anchored: bool,
    most: int,
    runs: int,
) -> None:
    """By one run of the plan, where it takes so many rows, whose tokens come in one copy: as each decode's own part."""
    profiles = [profile | {"rows": min(most, profile["rows"])} for profile in PROFILES]
    monkeypatch.setattr(FakeEngine, "PROFILES", profiles)
    backend = TensorRTBackend(with_plans(minimal, "trt-rtx", profiles), "trt-rtx")
    scores = _of_several_rows(backend, minimal, 3 * batch)
    codes = np.random.default_rng(1).standard_normal((48, 4), dtype=np.float32)
    wanted, cuda = [], large_fakes.cuda
    for number, rows in enumerate(([0], [0, 2], [0, 1, 2])):
        first, places = number * batch, np.array(rows)
        anchor = Anchor(1.0, codes, np.arange(40), number) if anchored else None
        noise = NoiseSource(2**63 + number, number, 64, 48)
        wanted.append(Wanted(scores.part(first, batch, 3), first, batch, places, places + 7, noise, anchor))
    distribution = engines.Distribution(guidance_scale=float(batch), top_k=20)
    alone = [one.part.sample(one.rows, one.cells, distribution, one.noise, one.anchor).tolist() for one in wanted]
    before = cuda.downloaded, cuda.synchronisations
    assert [tokens.tolist() for tokens in scores.sample_together(wanted, distribution)] == alone
    assert (cuda.downloaded, cuda.synchronisations) == (before[0] + 6 * 8, before[1] + runs)
    assert len(set(map(tuple, alone))) == 3


def _of_several_rows(backend: TensorRTBackend, minimal: Bundle, rows: int) -> PartedScores:
    """Return the scores of a pass of three tokens."""
    entry, pool = minimal.manifest.target, backend.new_pool("target", rows)
    slots = np.where(np.arange(entry.slots) < 3, np.arange(12, 12 + entry.slots), 10**6)
    inputs: dict[str, NDArray[Any]] = {
        "tokens": np.arange(3 * rows).reshape(rows, 3),
        "prefix": np.zeros((rows, 3, entry.dim), dtype=np.float32),
        "positions": np.tile(np.arange(12, 15), (rows, 1)),
        "slot_ranks": np.tile(slots, (rows, 1)),
        "write_index": np.zeros(rows, dtype=np.int64),
    }
    return backend.score("target", pool.rows(0, rows), inputs)


def test_parts_of_a_shared_pass(large_fakes: Fakes, minimal: Bundle) -> None:
    """A decode's scores outlive a pass that the others have."""
    bundle = with_plans(minimal, "trt-rtx")
    backend = TensorRTBackend(bundle, "trt-rtx")
    pool = backend.new_pool("target", 4)
    entry = bundle.manifest.target
    inputs: dict[str, NDArray[Any]] = {
        "tokens": np.arange(12).reshape(4, 3),
        "prefix": np.zeros((4, 3, entry.dim), dtype=np.float32),
        "positions": np.tile(np.arange(12, 15), (4, 1)),
        "slot_ranks": np.tile(np.where(np.arange(entry.slots) < 3, np.arange(12, 12 + entry.slots), 10**6), (4, 1)),
        "write_index": np.zeros(4, dtype=np.int64),
    }
    scores = backend.score("target", pool.rows(0, 4), inputs)
    everything, part = scores.logits(), scores.part(2, 2, 2)
    some = {name: value[:2] for name, value in inputs.items()}
    del scores
    alone = backend.score("target", pool.rows(0, 2), some).logits()
    np.testing.assert_array_equal(part.logits(), everything[2:, :2])
    np.testing.assert_allclose(alone, everything[:2], atol=1e-5)
    pool.clear(0, 4)
    held, rows = backend.memory(), pool.rows(0, 4)
    with pytest.raises(BackendError, match=r"graph target: tokens: the plan was not built for shape \(4, 65\)"):
        backend.score("target", rows, inputs | {"tokens": np.zeros((4, 65), dtype=np.int64)})
    assert backend.memory() == held, "a pass that is refused takes no memory"
