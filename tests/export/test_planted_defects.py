"""Graphs that are wrong are refused, at tiny and at the demo's size; correct ones are not, whatever their weights."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import cast
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from mulo_sd.engines.bundle.contract import Precision
from mulo_sd.export.build_bundle import neighbour_table
from mulo_sd.export.build_graph import cast_copy
from mulo_sd.export.compare import Comparison, check_error
from mulo_sd.export.comparison import Runner, ToleranceError
from mulo_sd.export.demo_evidence import demo_evidence
from mulo_sd.export.evidence import Evidence
from mulo_sd.export.graphs.listing import specifications
from mulo_sd.export.graphs.scaling import DownSamplerGraph, UpSamplerGraph
from mulo_sd.export.graphs.specification import GraphSpecification
from mulo_sd.export.precision import TORCH_DTYPES
from mulo_sd.reference import demo, minimal
from mulo_sd.reference.models import Models
from mulo_sd.reference.tokenizer import ImageTokenizer

Outputs = dict[str, Tensor]
NAN, INF = float("nan"), float("inf")


@pytest.fixture(scope="module", params=["minimal", "demo"])
def evidence(request: pytest.FixtureRequest) -> Evidence:
    models: Models = minimal.load() if request.param == "minimal" else demo.load()
    return demo_evidence(models, neighbour_table(models))


def graph(evidence: Evidence, name: str, precision: Precision = "fp32") -> GraphSpecification:
    dtype = TORCH_DTYPES[precision]
    item = next(item for item in specifications(evidence.models, dtype, 5) if item.name == name)
    return replace(item, module=cast_copy(item.module, dtype))


def spoiled(item: GraphSpecification, spoil: Callable[[Outputs, Mapping[str, Tensor]], None]) -> Runner:
    """Return a graph whose outputs are changed in place."""

    def run(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        outputs = {name: value.clone() for name, value in item.run(inputs).items()}
        spoil(outputs, inputs)
        return outputs

    return run


def measured(evidence: Evidence, item: GraphSpecification, run: Runner, precision: Precision = "fp32") -> float:
    error = Comparison(item, evidence, precision).error(run)
    check_error(item, error, precision)
    return error


@pytest.mark.parametrize("broken", [NAN, INF])
@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("target", "logits"),
        ("target", "new_key_0"),
        ("drafter_1", "new_value_1"),
        ("target_condition", "prefix"),
        ("decoder", "image"),
        ("sampler", "log_probs"),
        ("acceptance", "pooled_probs"),
        ("acceptance", "entropies"),
    ],
)
def test_not_finite(evidence: Evidence, name: str, output: str, broken: float) -> None:
    """One number of any output, in the last place: the graph, the tensor and how many are named."""
    item = graph(evidence, name)

    def spoil(outputs: Outputs, _inputs: Mapping[str, Tensor]) -> None:
        outputs[output].view(-1)[-1] = broken

    with pytest.raises(
        ToleranceError, match=rf"^graph {name}, output {output}: .*; the bundle was not written$"
    ) as told:
        measured(evidence, item, spoiled(item, spoil))
    if output != "log_probs":  # a code that is not kept has minus infinity
        assert f"{int(broken != broken)} NaN and {int(broken == broken)} infinite" in str(told.value)


def farthest(evidence: Evidence, tokens: Tensor) -> Tensor:
    codes = torch.nn.functional.normalize(evidence.models.tokenizer.codebook, dim=-1)
    return (codes[tokens] @ codes.t()).argmin(dim=-1)


@pytest.mark.parametrize("name", ["up_sampler_2_bicubic", "down_sampler_2_latent"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_one_wrong_code(evidence: Evidence, name: str, precision: Precision) -> None:
    """A single cell of hundreds, farther than rounding explains."""
    item, seen = graph(evidence, name, precision), [0]

    def spoil(outputs: Outputs, _inputs: Mapping[str, Tensor]) -> None:
        seen[0] += 1
        if seen[0] == 2:
            codes = outputs[item.compared]
            codes[0, -1] = farthest(evidence, codes[0, -1])

    with pytest.raises(ToleranceError, match=rf"graph {name}, output {item.compared}: 1 of \d+ codes are wrong"):
        measured(evidence, item, spoiled(item, spoil), precision)


@pytest.mark.parametrize("code", [-1, None])
def test_codes_out_of_range(evidence: Evidence, code: int | None) -> None:
    item = graph(evidence, "up_sampler_2_bicubic")
    outside = evidence.models.tokenizer.config.codes if code is None else code

    def spoil(outputs: Outputs, _inputs: Mapping[str, Tensor]) -> None:
        outputs["high_tokens"][0, 0] = outside

    with pytest.raises(ToleranceError, match=r"output high_tokens: expected codes in 0\.\."):
        measured(evidence, item, spoiled(item, spoil))


@pytest.mark.parametrize("name", ["up_sampler_2_bicubic", "down_sampler_2_area"])
@pytest.mark.parametrize(("precision", "bias"), [("fp32", 0.01), ("fp16", 0.05), ("bf16", 0.3)])
def test_a_biased_code(evidence: Evidence, name: str, precision: Precision, bias: float) -> None:
    """Every second code looks nearer than it is."""
    item = graph(evidence, name, precision)
    module = cast(UpSamplerGraph | DownSamplerGraph, item.module).by
    assert isinstance(module, ImageTokenizer)

    def biased(features: Tensor) -> Tensor:
        codes = torch.nn.functional.normalize(module.codebook.float(), dim=-1)
        products = features.float() @ codes.t()
        products[..., ::2] += bias
        return products.argmax(dim=-1)

    assert measured(evidence, item, item.run, precision) >= 0
    comparison = Comparison(item, evidence, precision)
    comparison.own_error()
    with patch.object(module, "codes_from_features", biased), pytest.raises(ToleranceError):
        check_error(item, comparison.error(item.run), precision)


def kept_again(outputs: Outputs, dropped: Tensor) -> None:
    log_probs = outputs["log_probs"].masked_fill(dropped, -INF)
    outputs["log_probs"] = log_probs.log_softmax(dim=-1)


def one_fewer(outputs: Outputs, inputs: Mapping[str, Tensor]) -> None:
    """Top-k keeps one code fewer."""
    if int(inputs["top_k"]) > 0:
        log_probs = outputs["log_probs"]
        last = log_probs.masked_fill(log_probs == -INF, INF).min(dim=-1, keepdim=True).values
        kept_again(outputs, log_probs <= last)


def no_tie_kept(outputs: Outputs, inputs: Mapping[str, Tensor]) -> None:
    """Of codes that tie at the edge of top-k, the first alone is kept."""
    if int(inputs["top_k"]) > 0:
        log_probs = outputs["log_probs"]
        least = log_probs.masked_fill(log_probs == -INF, INF).min(dim=-1, keepdim=True).values
        equal = log_probs == least
        kept_again(outputs, equal & (equal.long().cumsum(dim=-1) > 1))


def last_of_equals(outputs: Outputs, _inputs: Mapping[str, Tensor]) -> None:
    """Of equal codes the last is drawn."""
    if "noise" in _inputs:
        scores = outputs["log_probs"] + _inputs["noise"]
        outputs["tokens"] = scores.shape[1] - 1 - scores.flip(1).argmax(dim=1)


def no_noise(outputs: Outputs, _inputs: Mapping[str, Tensor]) -> None:
    """The noise is not added."""
    outputs["tokens"] = outputs["log_probs"].argmax(dim=-1)


def one_token(outputs: Outputs, _inputs: Mapping[str, Tensor]) -> None:
    """One row of hundreds draws another code."""
    outputs["tokens"][7] = (outputs["tokens"][7] + 1) % outputs["log_probs"].shape[1]


def one_draft(outputs: Outputs, _inputs: Mapping[str, Tensor]) -> None:
    outputs["pooled_probs"][5] += 0.001


@pytest.mark.parametrize("spoil", [one_fewer, no_tie_kept, last_of_equals, no_noise, one_token])
def test_wrong_samplers(evidence: Evidence, spoil: Callable[[Outputs, Mapping[str, Tensor]], None]) -> None:
    item = graph(evidence, "sampler")
    with pytest.raises(ToleranceError, match=r"graph sampler, output (log_probs|tokens)"):
        measured(evidence, item, spoiled(item, spoil))


@pytest.mark.parametrize("spoil", [one_fewer, no_tie_kept, one_draft])
def test_wrong_acceptances(evidence: Evidence, spoil: Callable[[Outputs, Mapping[str, Tensor]], None]) -> None:
    item = graph(evidence, "acceptance")
    with pytest.raises(ToleranceError, match="graph acceptance, output"):
        measured(evidence, item, spoiled(item, spoil))


@pytest.mark.parametrize(("precision", "seed"), [("fp32", 1), ("fp16", 2), ("bf16", 3)])
def test_correct_graphs_of_any_weights(precision: Precision, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random models of the minimal preset's sizes are all accepted, in every precision, near-ties and all."""
    monkeypatch.setattr(minimal, "WEIGHTS_SEED", seed)
    models = minimal.load_size.__wrapped__("minimal")
    evidence = demo_evidence(models, neighbour_table(models))
    for item in specifications(models, TORCH_DTYPES[precision], 5):
        item = replace(item, module=cast_copy(item.module, TORCH_DTYPES[precision]))
        comparison = Comparison(item, evidence, precision)
        if item.kind != "probabilities":
            check_error(item, comparison.own_error(), precision)
        check_error(item, comparison.error(item.run), precision)
