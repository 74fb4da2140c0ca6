"""Which graphs a bundle has, and that every answer of each is compared with the reference."""

import dataclasses
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mulo_sd.engines.backends.ort.cpu import OnnxRuntimeBackend
from mulo_sd.engines.bundle import open_bundle
from mulo_sd.export.compare import check_error, measure_error, tolerance_of
from mulo_sd.export.comparison import ToleranceError
from mulo_sd.export.evidence import Evidence, gather_evidence
from mulo_sd.export.graphs.listing import specifications
from mulo_sd.export.graphs.specification import GraphSpecification
from mulo_sd.reference import demo
from mulo_sd.reference.codebook import neighbours
from mulo_sd.reference.models import Condition, Models

FIELDS, CODES = 3, 16
ALWAYS = {"decoder", "sampler", "acceptance"}


def names(models: Models, all_filters: bool = False) -> set[str]:
    listed = [item.name for item in specifications(models, torch.float32, FIELDS, all_filters)]
    assert len(set(listed)) == len(listed)
    return set(listed)


def scalers(ratio: int) -> set[str]:
    return {f"up_sampler_{ratio}_bicubic", f"down_sampler_{ratio}_area"}


def transformers(*models: str) -> set[str]:
    return set(models) | {f"{model}_condition" for model in models}


def test_graphs_follow_from_models_and_ratios(toy_models: Models) -> None:
    """Two graphs a model, a scaler a ratio and method; ratio 2 twice over needs one of each."""
    three = transformers("target", "drafter_1", "drafter_2") | ALWAYS
    assert names(toy_models) == three | scalers(2) | scalers(4)
    middle = dataclasses.replace(toy_models, drafters=toy_models.drafters[:1])
    assert names(middle) == transformers("target", "drafter_1") | scalers(2) | ALWAYS
    coarse = dataclasses.replace(toy_models, drafters=toy_models.drafters[1:])
    assert names(coarse) == transformers("target", "drafter_1") | scalers(4) | ALWAYS
    more = {"up_sampler_4_bilinear", "up_sampler_4_nearest", "down_sampler_4_bicubic"}
    assert names(coarse, all_filters=True) - names(coarse) == more
    alone = dataclasses.replace(toy_models, drafters=())
    assert names(alone) == transformers("target") | ALWAYS


def test_latent_scalers_where_there_are_some(toy_models: Models) -> None:
    """Of the ratios that have one, up and down by themselves."""
    some: dict[int, Any] = {2: nn.Identity()}
    other: dict[int, Any] = {4: nn.Identity()}
    both = dataclasses.replace(toy_models, latent_up_samplers=some, latent_down_samplers=other)
    assert names(both) - names(toy_models) == {"up_sampler_2_latent", "down_sampler_4_latent"}


def test_ranges_cover_a_decode(toy_models: Models) -> None:
    """Every dynamic dimension reaches from one to what the largest step, pass or grid asks for."""
    listed = {item.name: item for item in specifications(toy_models, torch.float32, FIELDS, all_filters=True)}
    largest = {
        "target": {"fed": 34},  # the prefix and 8 x 4 cells
        "drafter_2": {"fed": 4},
        "sampler": {"rows": 32},  # islands of one cell each, in one step
        "acceptance": {"rows": 32, "near": 16},
        "up_sampler_2_bicubic": {"rows": 4, "columns": 2},
        "up_sampler_4_nearest": {"rows": 2, "columns": 1},
        "down_sampler_2_area": {"high_rows": 8, "high_columns": 4},
        "down_sampler_4_bicubic": {"high_rows": 8, "high_columns": 4},
    }
    for name, expected in largest.items():
        ranges = listed[name].ranges
        assert {dimension: ranges[dimension][2] for dimension in expected} == expected
        for smallest, usual, most in ranges.values():
            assert smallest <= usual <= most
            assert smallest == 1 or name.startswith("down_sampler")
    assert listed["down_sampler_2_area"].ranges["high_rows"][0] == 2
    assert listed["down_sampler_4_area"].ranges["high_columns"][0] == 4


@pytest.fixture(scope="module")
def evidence(toy_models: Models) -> Evidence:
    """What a decode of untrained models did."""
    generator = np.random.default_rng(5)
    cond, uncond = torch.from_numpy(generator.integers(1, 7, (2, 2, FIELDS)))
    sizes = [(model.config.grid_height, model.config.grid_width) for model in (toy_models.target, *toy_models.drafters)]
    tokens = tuple(torch.from_numpy(generator.integers(0, CODES, size)) for size in sizes)
    table = neighbours(nn.functional.normalize(toy_models.tokenizer.codebook, dim=-1), 4)
    return gather_evidence(toy_models, Condition(cond, uncond), tokens, table)


def test_evidence_of_every_model(evidence: Evidence) -> None:
    """Each model has a prefill and further passes, with logits."""
    assert [passes[0].model for passes in evidence.passes] == [0, 1, 2]
    for passes in evidence.passes:
        assert len(passes) > 1
        assert all(item.logits is not None for item in passes)


def test_modules_are_the_reference(toy_models: Models, evidence: Evidence) -> None:
    """In float32 every module gives the reference's answer, and any output of it that is off is noticed."""
    unnoticed = []
    for item in specifications(toy_models, torch.float32, FIELDS):
        error = measure_error(item.run, item, evidence)
        assert error <= tolerance_of(item.kind, "fp32"), item.name
        check_error(item, error, "fp32")
        for output in item.output_names:
            try:
                noticed = measure_error(lambda inputs: changed(item, inputs, output), item, evidence) > error  # noqa: B023
            except ToleranceError:
                noticed = True
            if not noticed:
                unnoticed.append(f"{item.name}.{output}")
    assert unnoticed == []


def changed(item: GraphSpecification, inputs: Any, output: str) -> dict[str, Tensor]:
    """Run a module and change one output."""
    outputs = item.run(inputs)
    value = outputs[output]
    return outputs | {output: (value + 1) % CODES if value.dtype == torch.long else value * 1.5 + 0.5}


def test_rows_and_columns_are_dynamic(demo_bundle: Path) -> None:
    """Every up- and down-sampler of a bundle takes any rows and columns, with the reference's codes."""
    bundle, models = open_bundle(demo_bundle), demo.load()
    backend = OnnxRuntimeBackend(bundle, 1)
    generator = np.random.default_rng(6)
    tried = 0
    for name in bundle.manifest.graphs:
        direction, _, rest = name.partition("_sampler_")
        if direction not in ("up", "down"):
            continue
        ratio_text, _, method = rest.partition("_")
        ratio = int(ratio_text)
        for rows, columns in ((1, 1), (3, 5), (8, 2)):
            with torch.inference_mode():
                if direction == "up":
                    tokens = generator.integers(0, 1024, (rows, columns))
                    expected = models.up_sample(cast(Any, method), torch.from_numpy(tokens), ratio)
                    found = backend.run(name, {"low_tokens": tokens})["high_tokens"]
                else:
                    tokens = generator.integers(0, 1024, (rows * ratio, columns * ratio))
                    expected = models.down_sample(cast(Any, method), torch.from_numpy(tokens), ratio)
                    found = backend.run(name, {"high_tokens": tokens})["low_tokens"]
            assert found.shape == tuple(expected.shape)
            different = int((found != expected.numpy()).sum())
            assert different <= 1 + 0.01 * found.size, f"{name}: {different} of {found.size} codes differ"
        tried += 1
    assert tried >= 8  # two directions, ratios and methods
