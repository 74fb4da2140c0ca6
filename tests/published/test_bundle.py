"""A published pair through the build command and onto an engine, with the files as they are published."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mulo_sd import engines
from mulo_sd.processes import ROOT
from mulo_sd.reference.decode import decode
from mulo_sd.reference.models import Condition
from mulo_sd.reference.settings import Settings
from tests.reference.checkpoints import published


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture(scope="module")
def bundle(tiny: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tar's tiny pair in float32."""
    files, out = tiny("tar").files, tmp_path_factory.mktemp("bundles") / "tar-fp32"
    options = ["--target", str(files.target), "--drafter", str(files.drafters[0]), "--vq", str(files.vq)]
    options += ["--ta-tok", str(files.ta_tok), "--precision", "fp32", "--backend", "ort", "--out", str(out)]
    done = run("mulo_sd.export.build", "--family", "tar", *options)
    assert done.returncode == 0, done.stderr
    return out


def test_the_references_image(tiny: Callable[..., Any], bundle: Path) -> None:
    """ONNX Runtime draws what the reference draws, in two modes."""
    pipeline, models = engines.load(bundle), tiny("tar").models
    cond = published.answers("tar_ardtok_tiny")["cond"][0]
    for mode, tau in (("parallel", 0.05), ("serial", 0.05)):
        expected = decode(models, Condition(cond), Settings(mode=mode, guidance_scale=4.0, tau=tau), seed=4)  # type: ignore[arg-type]
        settings: dict[str, Any] = {"mode": mode, "guidance_scale": 4.0, "tau": tau, "anchor": 0.0, "radius": 1}
        settings |= {"draft_window": 4, "island_window": 4, "neighbours": 16, "top_k": 0}
        found = pipeline.generate(engines.Condition(cond.numpy()), seed=4, **settings)
        assert found.tokens.tolist() == expected.tokens.tolist()
        with torch.inference_mode():
            image = models.tokenizer.images_from_tokens(expected.tokens[None])[0]
        pixels = ((image + 1) * 127.5).clamp(0, 255).permute(1, 2, 0).numpy()
        assert np.abs(np.asarray(found.image) - pixels).max() < 0.6


def test_manifest(bundle: Path) -> None:
    manifest = engines.load(bundle).bundle.manifest
    assert (manifest.family, manifest.semantic_ids, manifest.prompt_grammar) == ("tar", 50, None)
    assert [entry.condition for entry in manifest.models] == ["features", "features"]
    assert manifest.settings.guidance_scale == 4
    assert manifest.settings.drafters == (1,)


def test_commands(bundle: Path, tmp_path: Path) -> None:
    """Ids and features draw from files; what does not fit is told in one line."""
    np.savez(tmp_path / "ids.npz", ids=np.arange(9))
    np.savez(tmp_path / "other.npz", ids=np.arange(8))
    common = ["mulo_sd.engines.generate", "--bundle", str(bundle), "--seed", "5"]
    first = [*common, "--condition", str(tmp_path / "ids.npz"), "--out", str(tmp_path / "a.png")]
    done = run(*first, "--save-condition", str(tmp_path / "c.npz"))
    assert done.returncode == 0, done.stderr
    done = run(*common, "--condition", str(tmp_path / "c.npz"), "--out", str(tmp_path / "b.png"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    for wrong, told in (
        (["a fox", "--out", str(tmp_path / "x.png")], "--text-model"),
        (["--condition", str(tmp_path / "other.npz"), "--out", str(tmp_path / "x.png")], "ids: expected int64 (9,)"),
        (
            ["a fox", "--condition", "c.npz", "--out", str(tmp_path / "x.png")],
            "--condition, got both",
        ),
        (["--condition", str(tmp_path / "none.npz"), "--out", str(tmp_path / "x.png")], "found none"),
    ):
        done = run(*common, *wrong)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1, done.stderr
        assert told in done.stderr
    assert not (tmp_path / "x.png").exists()


def test_it_conforms(bundle: Path, tiny: Callable[..., Any], tmp_path: Path) -> None:
    """The suite takes bundles of published models with a function that loads their checkpoints, from any folder."""
    files = tiny("tar").files
    (tmp_path / "ours.py").write_text(
        "from pathlib import Path\nfrom export.published import Files, load_published\n\ndef load():\n"
        f"    return load_published(Files('tar', Path({str(files.target)!r}), (Path({str(files.drafters[0])!r}),),\n"
        f"                                Path({str(files.vq)!r})))\n"
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
    chosen = [
        "engines/test_teacher_forced.py",
        "engines/test_free_running.py",
        "-k",
        "parallel or exact or autoregress",
    ]
    report = ["--hypothesis-profile=ci", "--report", str(tmp_path / "report.json")]
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{Path(ROOT)}"}
    done = subprocess.run(
        [*command, *chosen, *report], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    rules = json.loads((tmp_path / "report.json").read_text())["rules"]
    assert rules["CONF-1"][bundle.name]["verdict"] == rules["CONF-3"][bundle.name]["verdict"] == "passed"
