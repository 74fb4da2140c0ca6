"""The calibration command: wrong input in one line, and settings that reach the bundle whole or not at all."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mulo_sd import engines
from mulo_sd.conformance.calibrate.prompts import PromptFileError, read_prompts
from mulo_sd.engines.bundle import open_bundle
from mulo_sd.engines.bundle.write_settings import write_settings
from tests.in_process import InProcess


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "prompts, got 0"),
        (b"\n \n", "prompts, got 0"),
        (b"a red circle\na blue nothing\n", "line 2: "),
        (b"\xff\xfe", "expected text in UTF-8, got UTF-16"),
        (b"a circle\n" * 200_000, "expected at most 1048576 bytes, got 1800000"),
    ],
)
def test_wrong_prompt_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes(content)
    with pytest.raises(PromptFileError) as caught:
        read_prompts(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_prompts_are_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("a red circle\n\n  three green stars \n")
    assert read_prompts(path) == ["a red circle", "three green stars"]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--budget", "0"], "--budget: expected minutes above 0, got 0"),
        (["--budget", "1", "--keep", "-1"], "--keep: expected a number from 0 on, got -1"),
        (["--budget", "1"], "prompts.txt: expected a file of prompts, found none"),
    ],
)
def test_wrong_arguments(in_process: InProcess, tmp_path: Path, extra: list[str], message: str) -> None:
    common = ["--bundle", str(tmp_path), "--prompts", str(tmp_path / "prompts.txt")]
    done = in_process.run("mulo_sd.conformance.calibrate.__main__", *common, *extra)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_settings_are_written_and_the_rest_stays(demo_bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(demo_bundle, copy)
    before = open_bundle(copy).manifest
    settings = engines.load(copy).settings(mode="serial", tau=0.37, radius=2)
    preset = engines.load(copy).settings(radius=3)
    write_settings(copy, settings, {"passes": preset, "mine": preset})
    after = open_bundle(copy).manifest
    assert after.settings == settings
    assert after.presets == {"windows": before.presets["windows"], "passes": preset, "mine": preset}
    assert after.model_copy(update={"settings": before.settings, "presets": before.presets}) == before
    assert not list(copy.glob(".manifest-*"))


def test_too_many_presets_are_told_before_the_search(demo_bundle: Path, tmp_path: Path, in_process: InProcess) -> None:
    """Presets of the names that a calibration writes are replaced, and take no room."""
    copy, prompts = tmp_path / "bundle", tmp_path / "prompts.txt"
    shutil.copytree(demo_bundle, copy)
    prompts.write_text("a red circle\n")
    pipeline = engines.load(copy, threads=1)
    preset = pipeline.settings()
    most = {f"mine-{number}": preset for number in range(62)}
    write_settings(copy, preset, most)  # beside windows and passes: 64
    write_settings(copy, preset, {"windows": preset, "passes": preset})
    with pytest.raises(
        engines.BundleError, match=r"manifest.json: expected at most 64 presets with one more, got 64 o"
    ):
        write_settings(copy, preset, {"one more": preset})
    text = json.loads((copy / "manifest.json").read_text())
    text["presets"]["mine-62"] = text["presets"].pop("windows")
    (copy / "manifest.json").write_text(json.dumps(text))
    done = in_process.run(
        "mulo_sd.conformance.calibrate.__main__", "--bundle", str(copy), "--prompts", str(prompts), "--budget", "9"
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "error: manifest.json: expected at most 64 presets with windows and passes, got 63 others; take some out of it"
    ]


def test_a_finished_image_is_likelier_than_a_shuffled_one(demo_bundle: Path) -> None:
    pipeline = engines.load(demo_bundle, threads=1)
    result = pipeline.generate("a red circle", seed=1, mode="parallel", tau=0.0)
    own = pipeline.token_log_probs("a red circle", result.plan, result.tokens)
    shuffled_tokens = np.random.default_rng(0).permutation(result.tokens.ravel()).reshape(result.tokens.shape)
    shuffled = pipeline.token_log_probs("a red circle", result.plan, shuffled_tokens)
    assert own.shape == result.tokens.shape
    assert (own <= 0).all()
    assert own.mean() > shuffled.mean() + 1
