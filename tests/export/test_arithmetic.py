"""Graphs in the arithmetic of their precision: activations and weights that it cannot hold, and how near others are."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from rich.console import Console

from mulo_sd import engines
from mulo_sd.engines.bundle.contract import Precision
from mulo_sd.engines.bundle.entries import GraphEntry
from mulo_sd.export.arithmetic import ActivationError, Activations, watched
from mulo_sd.export.build_bundle import build_bundle
from mulo_sd.export.build_graph import GraphBuilder, cast_copy
from mulo_sd.export.compare import Comparison
from mulo_sd.export.comparison import ToleranceError
from mulo_sd.export.evidence import Evidence, gather_evidence
from mulo_sd.export.finite_weights import check_weights
from mulo_sd.export.graphs.listing import specifications
from mulo_sd.export.graphs.specification import GraphSpecification
from mulo_sd.export.precision import TORCH_DTYPES
from mulo_sd.export.request import BuildRequest
from mulo_sd.reference import minimal
from mulo_sd.reference.codebook import neighbours
from mulo_sd.reference.models import Condition, Models
from mulo_sd.reference.weights import WeightsError


def loud(factor: float) -> Models:
    """The minimal preset, with what its target's last block adds multiplied: a norm brings it back to order."""
    models = minimal.load_size.__wrapped__("minimal")
    with torch.no_grad():
        models.target.get_parameter("layers.1.feed_forward.w2.weight").mul_(factor)
    return models


def evidence_of(models: Models) -> Evidence:
    config = models.target.config
    cond, uncond = torch.randint(1, 70, (2, config.prefix_length, 5), generator=torch.Generator().manual_seed(1))
    sizes = [model.config for model in (models.target, *models.drafters)]
    tokens = tuple(torch.zeros(size.grid_height, size.grid_width, dtype=torch.long) for size in sizes)
    return gather_evidence(models, Condition(cond, uncond), tokens, neighbours(models.tokenizer.codebook, 4))


def target(models: Models, precision: Precision) -> GraphSpecification:
    item = specifications(models, TORCH_DTYPES[precision], 5)[0]
    return replace(item, module=cast_copy(item.module, TORCH_DTYPES[precision]))


def request_of(evidence: Evidence) -> BuildRequest:
    return BuildRequest("x", evidence, engines.Settings(), "fp16")


def test_an_activation_overflows() -> None:
    """The float32 model is in order; float16 ends in one line with graph, module and what to do; bf16 holds it."""
    models = loud(1e5)
    evidence = evidence_of(models)
    line = (
        r"^graph target: layers\.1\.feed_forward\.w2 \(linear\) gives \d+ of \d+ numbers beyond 65504, the largest of "
        r"float16; the bundle was not written, build it with --precision bf16 or fp32$"
    )
    with pytest.raises(ToleranceError, match=line):
        Comparison(target(models, "fp16"), evidence, "fp16").own_error()
    seen = Comparison(target(models, "bf16"), evidence, "bf16")
    assert seen.own_error() < 1
    assert seen.activations is not None
    assert seen.activations.largest > 65504


def test_the_largest_activation_is_told() -> None:
    """As large as the reference's own, in every precision, with the module that gave it."""
    models = loud(300.0)
    evidence = evidence_of(models)
    for precision in ("fp32", "fp16"):
        seen = Comparison(target(models, precision), evidence, precision)
        assert seen.own_error() < 0.2
        assert seen.activations is not None
        assert seen.activations.where == "layers.1.feed_forward.w2 (linear)"
        assert seen.activations.limit == torch.finfo(TORCH_DTYPES[precision]).max
        assert 500 < seen.activations.largest < 65504


def test_attention_scores_are_seen() -> None:
    """They lie inside a fused kernel, and outside of it where a runtime has none."""
    seen = Activations(torch.float16)
    query = torch.full((1, 1, 1, 64), 100.0, dtype=torch.float16)
    with (
        pytest.raises(ActivationError, match=r"the graph \(attention scores\) gives 1 of 1"),
        watched(torch.nn.Identity(), seen),
    ):
        torch.nn.functional.scaled_dot_product_attention(query, query, query)


def test_half_products_are_added_in_float32() -> None:
    """As on tensor cores: a sum of 4,096 ones and a half is not lost one addition at a time."""
    with watched(torch.nn.Identity(), Activations(torch.float16)):
        total = torch.nn.functional.linear(torch.ones(1, 4096).half(), torch.ones(1, 4096).half())
    assert total.dtype == torch.float16
    assert float(total) == 4096


@pytest.mark.parametrize(
    ("number", "precision", "told"),
    [
        (1e5, "fp16", r"expected numbers up to 65504, .* got 1e\+05; build it with --precision bf16 or fp32"),
        (-1e5, "fp16", r"got -1e\+05"),
        (3.4e38, "bf16", r"build it with --precision fp32"),
        (float("nan"), "fp32", r"expected finite numbers, got nan"),
        (float("inf"), "fp16", r"expected finite numbers, got inf"),
    ],
)
def test_weights_that_a_precision_cannot_hold(number: float, precision: Precision, told: str) -> None:
    module = specifications(minimal.load_size.__wrapped__("minimal"), torch.float32, 5)[0].module
    check_weights(module, TORCH_DTYPES[precision], "target")
    with torch.no_grad():
        module.get_parameter("model.layers.1.feed_forward.w2.weight")[0, 0] = number
    with pytest.raises(WeightsError, match=rf"^graph target: layers\.1\.feed_forward\.w2\.weight: .*{told}"):
        check_weights(module, TORCH_DTYPES[precision], "target")


def test_the_largest_half_is_rounded_to(tmp_path: Path) -> None:
    """65,519 is rounded to 65,504; 65,520 is not."""
    module = torch.nn.Linear(1, 1, bias=False)
    for number, fits in ((65519.0, True), (65520.0, False)):
        torch.nn.init.constant_(module.weight, number)
        if fits:
            check_weights(module, torch.float16, "x")
        else:
            with pytest.raises(WeightsError):
                check_weights(module, torch.float16, "x")


def test_a_tokenizer_is_checked_before_any_graph_is_exported(tmp_path: Path) -> None:
    models = minimal.load_size.__wrapped__("minimal")
    evidence = evidence_of(models)
    with torch.no_grad():
        next(models.tokenizer.parameters()).view(-1)[0] = 1e6
    with pytest.raises(WeightsError, match=r"^graph up_sampler_2_bicubic: .*encoder\.1\.weight: expected numbers"):
        build_bundle(request_of(evidence), tmp_path / "b", force=False, console=Console(quiet=True))
    assert list(tmp_path.iterdir()) == []


GRAPH = {
    "onnx": {"path": "x", "sha256": "0" * 64, "size_bytes": 1},
    "inputs": [],
    "outputs": [],
    "dynamic": {},
    "build_seconds": 1.0,
    "measured_error": 0.1,
    "tolerance": 0.2,
    "error_of": "x",
}


def test_bundles_from_before_have_no_activations() -> None:
    entry = GraphEntry.model_validate(GRAPH)
    assert (entry.largest_activation, entry.activation_limit) == (None, None)


@pytest.mark.parametrize(
    "field", ["measured_error", "tolerance", "build_seconds", "largest_activation", "activation_limit"]
)
@pytest.mark.parametrize("number", [float("nan"), float("inf"), -1.0])
def test_a_manifest_holds_finite_errors(field: str, number: float) -> None:
    """Python's JSON has NaN, and no bound holds against it."""
    with pytest.raises(ValidationError, match=field):
        GraphEntry.model_validate_json(json.dumps(GRAPH | {field: number}))


@pytest.mark.parametrize(("factor", "warned"), [(6e3, True), (300.0, False)])
def test_near_the_limit_is_told(factor: float, warned: bool, tmp_path: Path) -> None:
    """Within a factor of 4 of it one line warns: other prompts may go beyond."""
    models = loud(factor)
    item, evidence = target(models, "fp16"), evidence_of(models)
    builder = GraphBuilder(tmp_path, request_of(evidence))
    errors = builder._own_errors(Comparison(item, evidence, "fp16"))
    assert len(errors) == 1
    assert len(builder.warnings) == warned
    if warned:
        start = r"graph target: its largest number on real inputs, "
        line = start + r"[\d.e+]+ in layers\.1\.feed_forward\.w2 \(linear\), is near 65504"
        assert re.match(line, builder.warnings[0])
