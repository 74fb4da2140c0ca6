"""Published shapes: their sizes, and a whole run over tiny ones in PyTorch on the CPU."""

import dataclasses
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mulo_sd.conformance.bench import __main__ as command
from mulo_sd.conformance.bench import shapes
from mulo_sd.conformance.bench.declared import MODES
from mulo_sd.conformance.bench.eager import EagerPublished, StaticCache, sample_top_k
from mulo_sd.conformance.bench.shape_table import shape_modes
from mulo_sd.conformance.bench.workload import random_condition
from mulo_sd.engines.backends.base import Backend
from mulo_sd.engines.bundle.contract import slot_count
from mulo_sd.engines.settings import Settings
from mulo_sd.export.full_size import _transformer
from mulo_sd.reference.cache import KVCache, feed
from mulo_sd.reference.checkpoints.vq import VQConfig
from mulo_sd.reference.models import Models
from mulo_sd.reference.transformer import TransformerConfig
from tests.fakes.torch_backend import TorchBackend

VQ = VQConfig(channels=32, multipliers=(1, 1), residual_blocks=1, z_channels=32, codes=64, code_dim=8)


def tiny_config(side: int, condition: str) -> TransformerConfig:
    caption = condition == "caption"
    config = TransformerConfig(side, side, vocabulary=64, layers=2, heads=2, dim=16, prefix_length=5)
    own = {"condition_width": 6, "rotary": caption, "zero_prefix_rotation": caption, "absolute": not caption}
    return dataclasses.replace(config, condition=condition, **own)  # type: ignore[arg-type]


TINY = {
    name: shapes.Shape(
        name,
        f"Tiny {name}",
        tuple(tiny_config(side, condition) for side in sides),
        VQ,
        {"guidance_scale": 4.0, "top_k": 20},
    )
    for name, condition, sides in (
        ("tiny-512", "caption", (8, 4)),
        ("tiny-1024", "features", (8, 4, 2)),
        ("tiny-256", "caption", (4,)),
    )
}


@pytest.fixture(autouse=True)
def tiny_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make tiny shapes known, and the tests' own backend their backend."""

    def backend(models: Models, dtype: torch.dtype, device: str, slots: Mapping[str, int], kernels: str) -> Backend:
        assert (dtype, device, kernels) == (torch.float32, "cpu", "torch")
        assert slots["target"] == slot_count(models.target.config)
        return TorchBackend(models, 1)

    monkeypatch.setattr(shapes, "SHAPES", {**shapes.SHAPES, **TINY})
    monkeypatch.setattr(shapes, "torch_backend_class", lambda: backend)


def test_sizes_are_those_of_full_size_checkpoints() -> None:
    for name, family, sides in (
        ("llamagen-xl-512", "llamagen", (32, 16)),
        ("llamagen-xl-256", "llamagen", (16,)),
        ("tar-lp-1024", "tar", (64, 32, 16)),
        ("tar-lp-512", "tar", (32, 16)),
        ("tar-lp-256", "tar", (16,)),
    ):
        expected = tuple(_transformer(family, side) for side in sides)  # type: ignore[arg-type]
        assert shapes.SHAPES[name].models == expected


def test_modes_of_shapes() -> None:
    far = shape_modes(TINY["tiny-1024"], None)
    assert {mode.name: mode.changes.get("drafters") for mode in far if mode.name in ("parallel", "cascade")} == {
        "parallel": (2,),
        "cascade": (1, 2),
    }
    assert [mode.name for mode in shape_modes(TINY["tiny-512"], None)] == ["ar", "zipar", "serial", "parallel", "ssd"]
    assert [mode.name for mode in shape_modes(TINY["tiny-256"], None)] == ["ar", "zipar"]


def test_models_are_made_where_they_run() -> None:
    models = shapes.shape_models(TINY["tiny-512"], "cpu", torch.bfloat16, seed=3)
    again = shapes.shape_models(TINY["tiny-512"], "cpu", torch.bfloat16, seed=3)
    assert models.target.output.weight.dtype == torch.bfloat16
    assert models.target.cos.dtype == models.tokenizer.codebook.dtype == torch.float32
    assert torch.equal(models.target.output.weight, again.target.output.weight)
    assert not torch.equal(models.target.output.weight, models.drafters[0].output.weight)
    assert all(bool(parameter.isfinite().all()) for parameter in models.target.parameters())
    assert float(models.target.norm.weight.float().mean()) == pytest.approx(1, abs=0.6)


def test_neighbours_begin_with_the_code_itself() -> None:
    shape = TINY["tiny-512"]
    bundle = shapes.shape_bundle(shape, shapes.shape_models(shape, "cpu", torch.float32), "fp32")
    assert bundle.neighbours.shape == (64, 16)
    assert (bundle.neighbours[:, 0] == np.arange(64)).all()
    distances = np.linalg.norm(bundle.codes[7] - bundle.codes, axis=1)
    assert set(bundle.neighbours[7]) == set(np.argsort(distances)[:16])


@pytest.mark.parametrize("name", ["tiny-512", "tiny-1024"])
def test_the_static_cache_answers_as_the_reference(name: str) -> None:
    model = shapes.shape_models(TINY[name], "cpu", torch.float32).target
    config = model.config
    embeddings = torch.randn(2, 9, config.dim, generator=torch.Generator().manual_seed(1))
    cache, other = StaticCache(model, 2), KVCache(config, 2)
    with torch.inference_mode():
        for positions in (torch.arange(config.prefix_length), torch.tensor([5]), torch.tensor([6])):
            fed = embeddings[:, positions]
            spread = positions[None].expand(2, -1)
            own = model(fed, spread, cache.attend(positions))
            torch.testing.assert_close(own, feed(model, other, fed, positions))


def test_top_k_draws_the_likeliest_alone() -> None:
    logits, settings = torch.tensor([[0.0, 5.0, 4.0, 1.0]]), Settings(top_k=2)
    generator = torch.Generator().manual_seed(0)
    drawn = {int(sample_top_k(logits, settings, generator)) for _ in range(50)}
    assert drawn == {1, 2}


def test_eager_draws_every_token() -> None:
    shape = TINY["tiny-512"]
    pipeline, models = shapes.make_shape_pipeline(shape, "cpu", "fp32", "torch")
    condition = random_condition(pipeline.bundle.manifest.target, 0)
    settings = pipeline.settings(mode="ar")
    pixels, seconds, passes = EagerPublished(models).draw(condition, settings, 1)
    again, _, _ = EagerPublished(models).draw(condition, settings, 1)
    assert passes == 64
    assert seconds > 0
    assert pixels.shape == (16, 16, 3)
    assert (pixels == again).all()


def test_a_run_over_tiny_shapes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bench"
    arguments = ["--out", str(out), "--shape", *TINY, "--device", "cpu", "--precision", "fp32", "--quick"]
    monkeypatch.setattr(sys, "argv", ["bench", *arguments, "--acceptance", "0.5", "1.0", "--threads", "1"])
    assert command.main() == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert "the weights are random" in said
    record = json.loads((out / "bench.json").read_text())
    assert list(record["shapes"]) == list(TINY)
    rows = record["shapes"]["tiny-1024"]["rows"]
    assert [(row["mode"], row["acceptance"]) for row in rows] == [
        ("ar", None),
        ("eager", None),
        ("zipar", None),
        *((mode, rate) for mode in ("serial", "serial-cascade", "parallel", "cascade") for rate in (0.5, 1.0)),
        ("ssd", None),
    ]
    methods = record["shapes"]["tiny-1024"]["methods"]
    assert [row["declared"]["mode"] for row in methods[::3]] == list(MODES)
    assert all(row["measured_seconds"] >= row["rule_seconds"] > 0 for row in methods)
    for row in rows:
        assert row["seconds"]["median"] > 0
        if row["acceptance"] is not None:
            assert row["accepted"] == row["acceptance"]
        if row["mode"] not in ("ar",):
            assert row["over_engine_ar"] > 0
    by_mode = {(row["mode"], row["acceptance"]): row for row in rows}
    assert by_mode["ar", None]["nfe_target"] == by_mode["eager", None]["nfe_target"] == 64
    assert by_mode["parallel", 0.5]["drafters"] == [2]
    swept = record["shapes"]["tiny-512"]["sweeps"]
    assert {(row["share"], row["width"]) for row in swept} == {(x, n) for x in (1.0, 0.5, 0.25) for n in (1, 4, 16, 64)}
    assert "AR by sweeps: " in said
    passes = record["shapes"]["tiny-512"]["passes"]
    assert [row["fed"] for row in passes] == [1, 1, 1, 4, 16, 64]
    assert record["shapes"]["tiny-512"]["note"].startswith("latency at a declared acceptance rate")
    for name in TINY:
        for figure in (f"{name}.png", f"{name}-passes.png"):
            with Image.open(out / figure) as picture:
                assert min(picture.size) > 200
