"""Bundles of trained models: built from a folder, drawn as the reference draws, and served."""

import argparse
import base64
import dataclasses
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
import torch
from PIL import Image

from mulo_sd import engines
from mulo_sd.conformance.tools.serving.served import Served, bundle_argument
from mulo_sd.engines.bundle import open_bundle
from mulo_sd.engines.commands.image_record import models_hash
from mulo_sd.export import build, chosen_models
from mulo_sd.export.own_bundle import BuildError, check_place
from mulo_sd.processes import ROOT
from mulo_sd.reference.decode import decode
from mulo_sd.reference.pictograms import shipped
from mulo_sd.reference.pictograms.examples import PREFIX_LENGTH, PictogramExamples
from mulo_sd.reference.trained import load_trained, save_trained
from mulo_sd.reference.weights import WeightsError, weights_sha256
from tests.captioned_bundle import GRIDS as BUILT_GRIDS
from tests.captioned_bundle import CaptionedBundle
from tests.in_process import InProcess
from tests.trained_models import CAPTIONS, GRIDS, trained

GENERATE = "mulo_sd.engines.generate"
LONG = "a red fox in the snow, and two keys on a table, and whatever else no prefix holds"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of trained models that is not built."""
    path = tmp_path_factory.mktemp("trained") / "tiny"
    save_trained(trained(), path)
    return path


@pytest.fixture(scope="module")
def models(captioned_bundle: CaptionedBundle) -> Path:
    """A folder of trained models."""
    return captioned_bundle.models


@pytest.fixture(scope="module")
def bundle(captioned_bundle: CaptionedBundle) -> Path:
    """Their bundle."""
    return captioned_bundle.bundle


def options(**named: object) -> argparse.Namespace:
    """Return options of the build command, as it reads them."""
    defaults: dict[str, Any] = {
        "models": None,
        "family": None,
        "trained": None,
        "target": None,
        "vq": None,
        "out": None,
    }
    defaults |= {"drafter": [], "ta_tok": None, "head": None, "semantic_ids": None, "pixels": (), "precision": "fp32"}
    defaults |= {"up_sampler": [], "down_sampler": [], "backend": ["ort"], "compute_capability": []}
    return argparse.Namespace(**defaults | {"all_filters": False, "branched": False} | named)


def test_manifest(bundle: Path, models: Path) -> None:
    opened, own = open_bundle(bundle), load_trained(models)
    manifest = opened.manifest
    assert (manifest.name, manifest.family, manifest.prompt_grammar) == ("pictograms", "captioned", None)
    assert manifest.example_prompts == own.examples
    assert manifest.captions is not None
    assert opened.file(manifest.captions).read_bytes() == (models / "captions.json").read_bytes()
    assert [(entry.grid_height, entry.grid_width) for entry in manifest.models] == [*BUILT_GRIDS]
    assert {(entry.prefix_length, entry.condition, entry.condition_width) for entry in manifest.models} == {
        (PREFIX_LENGTH, "fields", 1)
    }
    assert manifest.models[0].weights_sha256 == weights_sha256(own.models.target)
    assert manifest.settings.drafters == (1,)
    assert manifest.branched is not None
    other = manifest.model_copy(update={"captions": manifest.captions.model_copy(update={"sha256": "0" * 64})})
    assert models_hash(other) != models_hash(manifest)  # another tokenizer draws another image
    with pytest.raises(BuildError, match="there is a bundle already"):
        check_place(bundle, force=False)
    check_place(bundle, force=True)  # captions.json is a file of its own


@pytest.mark.parametrize("mode", ["ar", "zipar", "serial", "parallel", "exact"])
def test_tokens_are_the_references(mode: engines.Mode, bundle: Path, models: Path) -> None:
    """For every prompt, with guidance: the same ids in, the same tokens out."""
    pipeline, own = engines.load(bundle, threads=1), load_trained(models)
    shared: dict[str, Any] = {"guidance_scale": 1.5, "tau": 0.2, "radius": 1, "neighbours": 4, "drafters": (1,)}
    settings = dataclasses.replace(own.settings, mode=mode, **shared)
    for seed, prompt in enumerate((CAPTIONS[0], LONG)):
        expected = decode(own.models, own.condition(prompt), settings, seed=seed)
        found = pipeline.generate(prompt, seed=seed, mode=mode, **shared)
        assert found.tokens.tolist() == expected.tokens.tolist()
    with torch.inference_mode():
        image = own.models.tokenizer.images_from_tokens(expected.tokens[None])[0]
    pixels = ((image + 1) * 127.5).clamp(0, 255).permute(1, 2, 0).numpy()
    assert np.abs(np.asarray(found.image) - pixels).max() < 0.6


def test_the_command_draws(bundle: Path, models: Path, in_process: InProcess, tmp_path: Path) -> None:
    """It says when a caption was cut; a condition in numbers draws the same image."""
    common = ["--bundle", str(bundle), "--threads", "1"]
    done = in_process.run(GENERATE, LONG, *common, "--out", "a.png", "--save-condition", "c.npz", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    count = len(PictogramExamples().captions.ids(LONG))
    told = f"note: prompt: cut, since the models see {PREFIX_LENGTH} ids of a caption, and it has {count}\n"
    assert done.stderr == told
    done = in_process.run(GENERATE, *common, "--condition", "c.npz", "--out", "b.png", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    done = in_process.run(GENERATE, "snow", *common, "--out", "d.png", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    done = in_process.run(GENERATE, " ", *common, "--out", "e.png", folder=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"say what to draw, such as '{load_trained(models).examples[0]}'" in done.stderr
    assert not (tmp_path / "e.png").exists()


@pytest.fixture(scope="module")
def service(bundle: Path) -> Iterator[Served]:
    """A service that draws with it."""
    with Served(*bundle_argument("tiny", bundle), "--size", "2", "--threads", "1") as served:
        yield served


def test_the_service_draws(service: Served, bundle: Path, models: Path) -> None:
    """Its card shows the examples; the image is the pipeline's."""
    with openai.OpenAI(base_url=f"{service.url}/v1", api_key="none") as client:
        model = client.models.list().data[0]
        assert model.model_extra is not None
        assert model.model_extra["mulo_sd"]["example_prompts"] == [*load_trained(models).examples]
        extra = {"seed": 3, "quality": "exact"}
        answer = client.images.generate(model="tiny", prompt="two keys", output_format="png", extra_body=extra)
    assert answer.data is not None
    image = Image.open(io.BytesIO(base64.b64decode(answer.data[0].b64_json or "")))
    expected = engines.load(bundle, threads=1).generate("two keys", seed=3, mode="ar")
    assert np.array_equal(np.asarray(image), np.asarray(expected.image))


def test_the_suite_draws_random_captions(bundle: Path, models: Path, tmp_path: Path) -> None:
    """`--models` names what loads the folder."""
    (tmp_path / "ours.py").write_text(
        "from pathlib import Path\nfrom mulo_sd.reference.trained import load_trained\n\n"
        f"def load():\n    return load_trained(Path({str(models)!r})).models\n"
    )
    command = [
        sys.executable,
        "-m",
        "mulo_sd.conformance",
        "-q",
        "-n0",
        "--bundle",
        str(bundle),
        "--models",
        "ours:load",
    ]
    chosen = ["engines/test_teacher_forced.py", "-k", "TestConf1 and not cascade", "--hypothesis-profile=few"]
    report = ["--report", str(tmp_path / "report.json")]
    variables = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [*command, *chosen, *report], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    rules = json.loads((tmp_path / "report.json").read_text())["rules"]
    assert rules["CONF-1"][bundle.name]["verdict"] == "passed"


# What the build command refuses


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--models", "minimal"], "models: expected none beside --trained, got minimal"),
        (["--models", "minimal", "--out", "out"], "models: expected none beside --trained, got minimal"),
        (["--family", "tar", "--target", "a.pth", "--vq", "b.pt"], "trained: expected none beside --family tar, got "),
        (["--vq", "b.pt"], "family: expected llamagen or tar beside checkpoints, got none"),
    ],
)
def test_options_that_contradict_each_other(
    given: list[str], told: str, folder: Path, in_process: InProcess, tmp_path: Path
) -> None:
    done = in_process.run(build.__name__, "--trained", str(folder), "--backend", "ort", *given, folder=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert told in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("out", [[], ["--out", "out"]])
def test_a_folder_that_is_none(out: list[str], in_process: InProcess, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = in_process.run(build.__name__, "--trained", "empty", "--backend", "ort", *out, folder=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "models.json: expected a file of what a training leaves, found none" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_a_bundles_place_follows_from_the_models_name(
    folder: Path, in_process: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MULO_SD_BUNDLES", str(tmp_path))
    (tmp_path / "tiny-fp32").write_text("something else")
    done = in_process.run(build.__name__, "--trained", str(folder), "--backend", "ort")
    assert done.returncode == 2
    assert f"{tmp_path / 'tiny-fp32'}: expected a folder or nothing, got a file" in done.stderr


def test_models_that_go_by_the_name_of_others(tmp_path: Path) -> None:
    """Their bundle would lie where the demo's is looked for."""
    save_trained(dataclasses.replace(trained(), name="demo"), tmp_path / "demo")
    with pytest.raises(WeightsError, match="expected models of a name of their own, got 'demo'; give --out"):
        chosen_models.chosen_name(options(trained=tmp_path / "demo"))


def test_the_shipped_pictograms_are_such_a_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where they are not installed a line says so; their bundle goes by their name."""
    monkeypatch.setattr(shipped, "SHIPPED", folder / "nothing")
    with pytest.raises(WeightsError, match=r"the pictograms' weights are not installed; .*mulo-sd\[demo\]"):
        chosen_models.load_chosen(options(models="pictograms"))
    monkeypatch.setattr(shipped, "SHIPPED", folder)
    loaded = chosen_models.load_chosen(options(models="pictograms"))
    request = chosen_models.request_for(options(models="pictograms"), loaded)
    assert (request.name, request.family, request.branched) == ("mulo-sd pictograms", "captioned", True)
    assert request.evidence.fields == 1
    assert [grid.shape for grid in request.evidence.tokens] == [*GRIDS]
