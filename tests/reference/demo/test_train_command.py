"""The training command: wrong arguments end it with one line and without a traceback."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mulo_sd.processes import ROOT
from mulo_sd.reference.demo.shipped import SHIPPED
from mulo_sd.reference.demo.train.__main__ import main
from mulo_sd.reference.transformer import Transformer
from mulo_sd.reference.weights import save_weights


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """Give back the number of threads, which the command sets."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def refusal(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int | str | None, str]:
    """Run the command; return its exit status and what it says after the usage, which is one line."""
    monkeypatch.setattr(sys, "argv", ["train", *arguments])
    status: int | str | None
    try:
        status = main()
    except SystemExit as stop:
        status = stop.code
    said = capsys.readouterr()
    assert said.out == ""
    error = said.err[said.err.index("error: ") :]
    assert len(error.splitlines()) == 1
    return status, error


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "the following arguments are required: model, --out"),
        (["drafter_1"], "the following arguments are required: --out"),
        (["unicorn", "--out", "x"], "invalid choice: 'unicorn'"),
        (["drafter_1", "--out", "x", "--steps", "0"], "--steps: expected a whole number in 1.."),
        (["drafter_1", "--out", "x", "--steps", "-5"], "--steps: expected a whole number in 1.."),
        (["drafter_1", "--out", "x", "--steps", "many"], "argument --steps: invalid int value: 'many'"),
        (["drafter_1", "--out", "x", "--batch", "0"], "--batch: expected a whole number in 1.."),
        (["drafter_1", "--out", "x", "--workers", "0"], "--workers: expected a whole number in 1.."),
        (["drafter_1", "--out", "x", "--threads", "0"], "--threads: expected a whole number in 1.."),
        (["target", "--out", "x", "--score-per-task", "0"], "--score-per-task: expected a whole number in 1.."),
        (["target", "--out", "x", "--threads", "20000"], "--threads: expected a whole number in 1..1024, got 20000"),
        (["target", "--out", "x", "--rate", "nan"], "--rate: expected a number in "),
        (["target", "--out", "x", "--object-weight", "inf"], "--object-weight: expected a number in "),
        (["target", "--out", "x", "--rescaled-share", "nan"], "--rescaled-share: expected a number in 0..1, got nan"),
        (["target", "--out", "x", "--rate", "fast"], "argument --rate: invalid float value: 'fast'"),
        (["tokenizer", "--out", "x", "--colour", "red"], "unrecognized arguments: --colour red"),
    ],
)
def test_wrong_argument_is_told_in_one_line(
    arguments: list[str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, error = refusal(arguments, monkeypatch, capsys)
    assert status == 2
    assert told in error


def test_tokenizer_that_is_none_is_told_in_one_line(
    tiny_transformer: Transformer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    transformer, html = tmp_path / "transformer.safetensors", tmp_path / "html.safetensors"
    save_weights(tiny_transformer, tiny_transformer.config, transformer)
    html.write_text("<!DOCTYPE html>\n<html></html>\n", encoding="utf-8")
    for path, told in (
        (tmp_path / "missing.safetensors", "expected a safetensors file, found none"),
        (html, "expected a safetensors file, got: "),
        (transformer, "expected weights of a TokenizerConfig, got TransformerConfig"),
    ):
        arguments = ["drafter_1", "--out", str(tmp_path / "out"), "--tokenizer", str(path)]
        status, error = refusal(arguments, monkeypatch, capsys)
        assert status == 2
        assert f"{path}: {told}" in error
    assert not (tmp_path / "out").exists()


def test_warm_start_that_is_no_drafter_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["target", "--out", str(tmp_path / "out"), "--warm-start", str(SHIPPED / "tokenizer.safetensors")]
    status, error = refusal(arguments, monkeypatch, capsys)
    assert status == 2
    assert "expected weights of a TransformerConfig, got TokenizerConfig" in error


@pytest.mark.parametrize("model", ["head", "block"])
def test_target_that_is_none_is_told_in_one_line(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for path, told in (
        (tmp_path / "missing.safetensors", "found none"),
        (SHIPPED / "tokenizer.safetensors", "expected weights of a TransformerConfig, got TokenizerConfig"),
    ):
        arguments = [model, "--out", str(tmp_path / "out"), "--target", str(path)]
        status, error = refusal(arguments, monkeypatch, capsys)
        assert status == 2
        assert told in error
    assert not (tmp_path / "out").exists()


def test_checkpoint_of_another_job_or_none_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "tokenizer.run"
    folder.mkdir()
    job = {"model": "tokenizer", "seed": 0, "steps": 7}
    torch.save({"job": job, "step": 3}, folder / "checkpoint.pt")
    for extra, told in (
        (["--steps", "7", "--seed", "1"], "expected a run with seed 1, got one with 0"),
        (["--steps", "8"], "expected a run with steps 8, got one with 7"),
    ):
        status, error = refusal(["tokenizer", "--out", str(tmp_path), *extra], monkeypatch, capsys)
        assert status == 2
        assert told in error
    for content in (b"", b"no checkpoint", (folder / "checkpoint.pt").read_bytes()[:100]):
        (folder / "checkpoint.pt").write_bytes(content)
        status, error = refusal(["tokenizer", "--out", str(tmp_path), "--steps", "7"], monkeypatch, capsys)
        assert status == 2
        assert "expected a checkpoint of this version" in error


def test_the_command_itself_exits_with_that_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mulo_sd.reference.demo.train", "drafter_1", "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [*command, "--tokenizer", str(tmp_path / "missing")],
        cwd=Path(ROOT),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer.safetensors"])
def test_a_run_that_begins_writes_over_nobodys_files(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """tokenizer.json is what a text tokenizer is called, too."""
    (tmp_path / name).write_text("mine")
    status, error = refusal(["tokenizer", "--out", str(tmp_path), "--steps", "1"], monkeypatch, capsys)
    assert status == 2
    assert f"{tmp_path / name}: expected none before a run's first step" in error
    assert (tmp_path / name).read_text() == "mine"
