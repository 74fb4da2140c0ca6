"""Logits and pixels that are not numbers end a decode in one line that names graph and pass, whoever computes them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mulo_sd import engines
from mulo_sd.conformance.engines.unscored_backend import UnscoredBackend
from mulo_sd.engines.backends.array_scores import ArrayScores
from mulo_sd.engines.backends.base import Fed, KVCache, Tensors
from mulo_sd.engines.backends.finite import LogitsError, check_logits
from mulo_sd.engines.backends.host_scores import distribution_inputs
from mulo_sd.engines.backends.ort.cpu import OnnxRuntimeBackend, OnnxRuntimeCache
from mulo_sd.engines.backends.torch_cuda.scores import Sampling, TorchScores
from mulo_sd.engines.backends.torch_cuda.stateless import acceptance, sampler
from mulo_sd.engines.backends.torch_cuda.work import DeviceWork
from mulo_sd.engines.bundle import Bundle, open_bundle
from mulo_sd.engines.distribution import Distribution
from mulo_sd.engines.loop.answer import Answer
from mulo_sd.engines.rules.anchor import Anchor
from mulo_sd.engines.rules.noise import NoiseSource
from mulo_sd.engines.service.pipeline import Pipeline
from mulo_sd.engines.settings import MODES, Mode
from mulo_sd.export.graphs import sampling as graphs

PROMPT = "a red star"
CODES = 20
BAD = {"NaN": np.nan, "-NaN": -np.nan, "inf": np.inf}
Floats = NDArray[np.float32]
Spoil = Callable[[Floats], None]


class Spoiled(UnscoredBackend):
    """ONNX Runtime, whose logits, or the decoder's pixels, are spoiled from a pass on; samples by graphs or numpy."""

    label = "spoiled"

    def __init__(self, bundle: Bundle, spoil: Spoil, first_pass: int = 0, graph: str = "target") -> None:
        super().__init__(OnnxRuntimeBackend(bundle, 1))
        self.spoil, self.graph, self.passes_left = spoil, graph, first_pass

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        found = super().run(graph, inputs)
        if graph == "decoder" and graph == self.graph:
            self.spoil(found["image"])
        return found

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> Floats:
        logits = super().feed(graph, cache, inputs)
        self._spoil(graph, logits)
        return logits

    def feed_with_hidden(self, graph: str, cache: KVCache, inputs: Tensors) -> Fed:
        fed = super().feed_with_hidden(graph, cache, inputs)
        self._spoil(graph, fed.logits)
        return fed

    def _spoil(self, graph: str, logits: Floats) -> None:
        if graph.removesuffix("_branched") == self.graph:
            self.passes_left -= 1
            if self.passes_left < 0:
                self.spoil(logits)


class SpoiledScores(Spoiled):
    """The same, whose logits numpy samples and judges."""

    changed_traits = {**UnscoredBackend.changed_traits, "scores": True}  # noqa: RUF012  # declared in the base

    def score(self, graph: str, cache: KVCache, inputs: Tensors) -> ArrayScores:
        if graph == "head" or graph.endswith("_branched"):
            return ArrayScores(*self.feed_with_hidden(graph, cache, inputs))
        return ArrayScores(self.feed(graph, cache, inputs))


def setting(value: float, row: int = -1) -> Spoil:
    """Return what sets one logit of a row to a value: of the last row, which is drawn from in any mode."""

    def spoil(logits: Floats) -> None:
        logits[0, row, 3] = value

    return spoil


def sinking(logits: Floats) -> None:
    logits[..., -1, :] = -np.inf


@pytest.fixture(scope="module")
def bundle(minimal_bundle: Path) -> Bundle:
    return open_bundle(minimal_bundle)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("backend", [Spoiled, SpoiledScores])
@pytest.mark.parametrize("first_pass", [0, 1])
def test_every_mode(bundle: Bundle, mode: Mode, backend: type[Spoiled], first_pass: int) -> None:
    pipeline = Pipeline(bundle, backend(bundle, setting(np.nan), first_pass))
    where = "prefill" if first_pass == 0 else r"pass \d+"
    said = r"on backend spoiled: expected logits of [^\n]* got 1 NaN and 0 larger ones of \d+, [^\n]*$"
    with pytest.raises(LogitsError, match=rf"^graph target(_branched)?, {where}, {said}"):
        pipeline.generate(PROMPT, mode=mode)


@pytest.mark.parametrize(("graph", "mode"), [("head", "eagle"), ("head", "lantern-plus"), ("block", "specdec")])
def test_what_drafts_beside_the_target(bundle: Bundle, graph: str, mode: Mode) -> None:
    pipeline = Pipeline(bundle, SpoiledScores(bundle, setting(np.nan), 1, graph))
    with pytest.raises(LogitsError, match=rf"^graph {graph}, [^\n]*NaN[^\n]*$"):
        pipeline.generate(PROMPT, mode=mode)


@pytest.mark.parametrize("spoil", [setting(np.inf), setting(-np.inf), sinking])
@pytest.mark.parametrize("graph", ["target", "drafter_1"])
def test_infinities(bundle: Bundle, spoil: Spoil, graph: str) -> None:
    pipeline = Pipeline(bundle, SpoiledScores(bundle, spoil, 1, graph))
    with pytest.raises(LogitsError, match=rf"^graph {graph}, pass \d+, .* got 0 NaN and \d+ larger ones of "):
        pipeline.generate(PROMPT, mode="parallel", drafters=1)


def test_a_code_that_is_never_drawn(bundle: Bundle) -> None:
    """Without guidance a model may say so by minus infinity."""
    pipeline = Pipeline(bundle, SpoiledScores(bundle, lambda logits: logits[..., :40].fill(-np.inf)))
    tokens = pipeline.generate(PROMPT, mode="zipar", guidance_scale=1).tokens
    assert tokens.min() >= 40


def test_what_the_target_thinks_of_an_image(bundle: Bundle) -> None:
    right = engines.load(bundle.path, threads=1)
    drawn = right.generate(PROMPT, mode="zipar")
    assert np.isfinite(right.token_log_probs(PROMPT, drawn.plan, drawn.tokens)).all()
    wrong = Pipeline(bundle, SpoiledScores(bundle, setting(np.nan), 1))
    with pytest.raises(LogitsError, match=r"^graph target, pass 1, "):
        wrong.token_log_probs(PROMPT, drawn.plan, drawn.tokens)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels(bundle: Bundle, value: float) -> None:
    def spoil(image: Floats) -> None:
        image[0, :2, 1] = value

    pipeline = Pipeline(bundle, Spoiled(bundle, spoil, graph="decoder"))
    with pytest.raises(
        engines.BackendError, match=r"^graph decoder, on backend spoiled: expected finite pixels, got 2 "
    ):
        pipeline.generate(PROMPT, mode="zipar")


def test_only_the_request_that_is_at_fault_fails(bundle: Bundle) -> None:
    """In passes that several share, too."""

    class OneSpoiled(OnnxRuntimeBackend):
        def score(self, graph: str, cache: KVCache, inputs: Tensors) -> ArrayScores:
            assert isinstance(cache, OnnxRuntimeCache)
            scores = super().score(graph, cache, inputs)
            if cache.first_row == 0:  # of the first place
                scores.all[0, -1, 0] = np.nan
            return scores

    pipeline = Pipeline(bundle, OneSpoiled(bundle, 1))
    with pipeline.session(2) as session:
        asked = [session.submit(PROMPT, seed, "zipar") for seed in (1, 2)]
        failed = [request.exception(60) for request in asked]
    assert [type(error) for error in failed].count(LogitsError) == 1
    expected = engines.load(bundle.path, threads=1)
    for seed, request, error in zip((1, 2), asked, failed, strict=True):
        if error is None:
            assert np.array_equal(request.result().tokens, expected.generate(PROMPT, seed, "zipar").tokens)


@pytest.mark.parametrize("value", [*BAD.values(), -np.inf, 3e38, -3e38])
@pytest.mark.parametrize(("batch", "row", "code"), [(1, 0, 0), (2, 2, CODES - 1), (2, 1, 5)])
def test_any_place(value: float, batch: int, row: int, code: int) -> None:
    logits = np.random.default_rng(1).standard_normal((batch, 3, CODES), dtype=np.float32)
    check_logits(logits, "here")
    logits[batch - 1, row, code] = value
    if batch == 1 and value < -1e30:
        check_logits(logits, "here")
        return
    nan = int(np.isnan(value))
    said = rf"^here: .* got {nan} NaN and {1 - nan} larger ones of {batch * 3 * CODES}, the first in row {row};"
    with pytest.raises(LogitsError, match=said):
        check_logits(logits, "here")


# Where logits stay on a device, what comes from there says so.


SETTINGS: dict[str, dict[str, Any]] = {
    "all codes": {},
    "greedy": {"temperature": 0.0},
    "top-k": {"top_k": 2},
    "top-p": {"top_p": 0.3},
    "cold": {"temperature": 1e-5, "top_k": 3, "top_p": 0.5},
    "one code": {"top_k": 1, "top_p": 0.5},
}


def spoiled_logits(value: float) -> Floats:
    logits = np.random.default_rng(2).standard_normal((2, 4, CODES), dtype=np.float32)
    logits[1, 2, 7] = value
    return logits


@pytest.mark.parametrize("chosen", SETTINGS)
@pytest.mark.parametrize("value", BAD.values(), ids=BAD)
def test_device_scores(value: float, chosen: str) -> None:
    """Torch's own operations mark the row, which `Answer` refuses; the other rows are drawn from."""
    distribution, rows = Distribution(guidance_scale=2.0, **SETTINGS[chosen]), np.arange(4)
    scores = TorchScores(Sampling(DeviceWork(torch.device("cpu"))), torch.from_numpy(spoiled_logits(value)))
    source, neighbours = NoiseSource(1, 0, 4, CODES), np.arange(CODES)[:, None]
    anchor = Anchor(2.0, np.eye(CODES, 4, dtype=np.float32), np.zeros(4, dtype=np.int64), 0)
    for used in (None, anchor):
        assert (scores.sample(rows, rows, distribution, source, used) < 0).tolist() == [False, False, True, False]
    judgement = scores.judge(rows, distribution, rows, neighbours)
    assert np.isnan(judgement.pooled_probs).tolist() == [False, False, True, False]
    answer = Answer(rows, rows, scores, scores, "graph g, pass 5")
    draws: tuple[Callable[[], object], ...] = (
        lambda: answer.sample(distribution, source, None),
        lambda: answer.draw(distribution, source.rows(rows)),
        lambda: answer.judge(distribution, rows, neighbours),
        lambda: answer.judge(distribution.raw(), rows, neighbours),
    )
    for draw in draws:
        with pytest.raises(LogitsError, match=r"^graph g, pass 5: expected [^\n]*, got [^\n]*$"):
            draw()
    answer.only([0, 1, 3]).sample(distribution, source, None)


@pytest.mark.parametrize("max_ranked", [3840, 0], ids=["by rank", "by search"])
@pytest.mark.parametrize("chosen", SETTINGS)
@pytest.mark.parametrize("value", [*BAD.values(), -np.inf], ids=[*BAD, "-inf"])
def test_graphs(value: float, chosen: str, max_ranked: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle's graphs mark the row, and torch-cuda's do."""
    monkeypatch.setattr(graphs, "MAX_RANKED", max_ranked)
    made = distribution_inputs(spoiled_logits(value), Distribution(guidance_scale=2.0, **SETTINGS[chosen]))
    inputs = {name: torch.from_numpy(np.asarray(array)) for name, array in made.items()}
    noise = {"noise": torch.zeros(4, CODES)}
    pooling = {"draft_tokens": torch.arange(4), "neighbours": torch.arange(CODES)[:, None]}
    tokens, log_probs = graphs.SamplerGraph()(**inputs, **noise)
    pooled, _, _ = graphs.AcceptanceGraph()(**inputs, **pooling)
    found = [(tokens, log_probs, pooled)]
    if value != -np.inf:
        by_device = sampler(inputs | noise)
        found.append((by_device["tokens"], by_device["log_probs"], acceptance(inputs | pooling)["pooled_probs"]))
    for drawn, logs, sums in found:
        assert (drawn < 0).tolist() == logs.isnan().all(dim=-1).tolist() == [False, False, True, False]
        assert sums.isnan().tolist() == [False, False, True, False]
        assert not logs[[0, 1, 3]].isnan().any()


def test_the_bundles_graphs_on_onnx_runtime(bundle: Bundle) -> None:
    backend, codes = OnnxRuntimeBackend(bundle, 1), bundle.manifest.target.vocabulary
    logits = np.zeros((2, 3, codes), dtype=np.float32)
    logits[0, 1, 5] = np.nan
    inputs = distribution_inputs(logits, Distribution(top_k=2, top_p=0.5))
    drawn = backend.run("sampler", inputs | {"noise": np.zeros((3, codes), dtype=np.float32)})
    assert drawn["tokens"].tolist() == [0, -1, 0]
    assert np.isnan(drawn["log_probs"]).all(axis=1).tolist() == [False, True, False]
    near = {"draft_tokens": np.zeros(3, dtype=np.int64), "neighbours": bundle.neighbours}
    assert np.isnan(backend.run("acceptance", inputs | near)["pooled_probs"]).tolist() == [False, True, False]
