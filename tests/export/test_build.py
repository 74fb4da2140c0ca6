"""The build command: whole or nothing, never two mixed, and never a graph that is too far from the reference."""

import argparse
import dataclasses
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from rich.console import Console

from mulo_sd import engines
from mulo_sd.engines.bundle import open_bundle
from mulo_sd.engines.prompts.prefix import FIELDS
from mulo_sd.export import build, chosen_models, precision
from mulo_sd.export.build_arguments import MODEL_NAMES
from mulo_sd.export.build_bundle import build_bundle, neighbour_table
from mulo_sd.export.comparison import ToleranceError
from mulo_sd.export.demo_evidence import demo_evidence
from mulo_sd.export.graphs.listing import specifications
from mulo_sd.export.request import BuildRequest
from mulo_sd.reference import demo, minimal
from mulo_sd.reference.demo.models import PRESETS
from mulo_sd.reference.demo.shipped import SHIPPED

COMMAND = [sys.executable, "-m", "mulo_sd.export.build", "--backend", "ort"]


def test_errors_are_in_the_manifest(demo_bundle: Path) -> None:
    """Every graph of a finished bundle was measured and is within its tolerance."""
    manifest = open_bundle(demo_bundle).manifest
    listed = specifications(demo.load(), torch.float32, FIELDS)
    assert list(manifest.graphs) == [item.name for item in listed]
    for item, graph in zip(listed, manifest.graphs.values(), strict=True):
        assert 0 <= graph.measured_error <= graph.tolerance
        assert tuple(tensor.name for tensor in graph.inputs) == item.input_names
        assert tuple(tensor.name for tensor in graph.outputs) == item.output_names
    for model in manifest.models:
        assert manifest.graphs[model.graph].measured_error > 0  # a comparison with itself would say 0


def test_options_name_the_models_that_the_command_knows() -> None:
    assert (*chosen_models.KNOWN_MODELS, *chosen_models.TRAINED_MODELS) == MODEL_NAMES


def test_options_are_read_before_torch_is_loaded() -> None:
    """Help, and what is said of a wrong option, do not wait for it."""
    code = (
        "import sys; from mulo_sd.export import build, build_arguments; "
        "sys.exit(bool({'torch', 'onnx', 'onnx_ir'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_refuses_to_overwrite(tmp_path: Path) -> None:
    """Without --force a folder that exists is left alone."""
    (tmp_path / "here").mkdir()
    done = subprocess.run([*COMMAND, "--out", str(tmp_path / "here")], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "there is an empty folder; replace it with --force" in done.stderr
    assert list((tmp_path / "here").iterdir()) == []


def test_refuses_a_sampler_of_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights that are no latent sampler end in one line, before anything is built."""
    options = ["--out", str(tmp_path / "bundle"), "--up-sampler", str(SHIPPED / "target.safetensors")]
    monkeypatch.setattr(sys, "argv", ["build", "--backend", "ort", *options])
    assert build.main() == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert "expected weights of a LatentScalerConfig, got TransformerConfig" in errors
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(stop: signal.Signals, tmp_path: Path) -> None:
    """An interrupted build leaves nothing."""
    process = subprocess.Popen(
        [*COMMAND, "--models", "minimal", "--out", str(tmp_path / "bundle")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob(".bundle.partial-*")):
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(stop)
    _, errors = process.communicate(timeout=240)
    assert process.returncode != 0
    assert "no bundle was written" in errors
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


def build_arguments(**named: object) -> argparse.Namespace:
    """Return the arguments of a build in float32, as the command reads them."""
    return argparse.Namespace(
        models=None, trained=None, precision="fp32", all_filters=False, compute_capability=[], **named
    )


@pytest.mark.parametrize(
    ("backends", "preset"),
    [(["ort"], "windows"), (["trt"], "passes"), (["ort", "trt-rtx"], "passes"), (["torch-cuda"], "passes")],
)
def test_a_bundle_starts_from_the_preset_of_its_runtimes(backends: list[str], preset: str) -> None:
    """Passes cost time on a GPU, cells on a processor; either bundle holds both presets."""
    arguments = build_arguments(backend=backends, family=None, branched=False)
    loaded = chosen_models.KNOWN_MODELS["minimal"]
    request = chosen_models.request_for(arguments, chosen_models.Loaded(minimal.load(), loaded.settings, PRESETS, None))
    assert request.presets.keys() == PRESETS.keys()
    assert request.presets[preset] == engines.Settings(**dataclasses.asdict(PRESETS[preset]))
    expected = loaded.settings if preset == "windows" else PRESETS["passes"]
    assert request.settings == engines.Settings(**dataclasses.asdict(expected))


@pytest.mark.parametrize(
    ("family", "asked", "branched"), [(None, False, True), ("tar", False, False), ("tar", True, True)]
)
def test_who_gets_the_target_once_more(
    family: str | None, asked: bool, branched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bundles of our own do; those of published checkpoints where somebody asks for it, or where there is a head."""
    monkeypatch.setattr(chosen_models, "published_evidence", lambda models, table, ta_tok: demo_evidence(models, table))
    arguments = build_arguments(backend=["ort"], family=family, branched=asked)
    models = dataclasses.replace(minimal.load(), head=None)
    loaded = chosen_models.Loaded(models, chosen_models.KNOWN_MODELS["minimal"].settings, {}, None)
    request = chosen_models.request_for(arguments, loaded)
    listed = specifications(models, torch.float32, 5, branched=request.branched)
    assert ("target_branched" in {item.name for item in listed}) == branched


def test_the_demos_default_is_a_preset() -> None:
    known = chosen_models.KNOWN_MODELS["demo"]
    assert known.settings == known.presets["windows"]


@pytest.mark.parametrize("name", PRESETS)
def test_the_demos_bundle_can_decode_every_preset(name: str, demo_bundle: Path) -> None:
    preset = dataclasses.asdict(PRESETS[name])
    assert engines.load(demo_bundle, threads=1).settings(**preset) == engines.Settings(**preset)


def test_too_far_from_the_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph beyond its tolerance stops the build, which names the tensor and the distance."""
    models = minimal.load()
    evidence = demo_evidence(models, neighbour_table(models))
    request = BuildRequest("test", evidence, engines.Settings(), "fp32")
    monkeypatch.setitem(precision.LOGIT_TOLERANCE, "fp32", 1e-12)
    with pytest.raises(ToleranceError, match=r"graph target, output logits: .* expected at most 1e-12"):
        build_bundle(request, tmp_path / "bundle", force=False, console=Console(quiet=True))
    assert list(tmp_path.iterdir()) == []
