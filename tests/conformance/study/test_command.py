"""The study command: wrong arguments end it with one line; a folder that is complete is reported without drawing."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mulo_sd.conformance.study import __main__ as command
from mulo_sd.conformance.study.features import features_of
from mulo_sd.conformance.study.rows import ROWS_NAME, Row, RowLog, read_rows
from mulo_sd.conformance.study.variants import SECTIONS, variants_of
from mulo_sd.reference.tokenizer import Tokenizer, TokenizerConfig

MakeRows = Callable[..., list[Row]]


def refusal(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """Run the command; return what it says after the usage, which is one line."""
    monkeypatch.setattr(sys, "argv", ["study", *arguments])
    try:
        status: int | str | None = command.main()
    except SystemExit as stop:
        status = stop.code
    said = capsys.readouterr()
    assert status == 2
    assert said.out == ""
    error = said.err[said.err.index("error: ") :]
    assert len(error.splitlines()) == 1
    return error


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--per-task", "0"], "--per-task: expected 1..1000, got 0"),
        (["--per-task", "1001"], "--per-task: expected 1..1000, got 1001"),
        (["--timing-per-task", "-1"], "--timing-per-task: expected 0..1000, got -1"),
        (["--workers", "0"], "--workers: expected 1..256, got 0"),
        (["--resamples", "1"], "--resamples: expected 10..100000, got 1"),
        (["--sections", "controls", "nonsense"], "--sections: expected some of controls, "),
        (["--only", "nonsense"], "got 'nonsense'"),
        (["--sections", "anchor", "--only", "AR"], "got 'AR'"),
        (["--confirm", "--only", "AR"], "--confirm: expected neither --sections nor --only"),
        (["--confirm", "--sections", "anchor"], "--confirm: expected neither --sections nor --only"),
        (["--per-task", "many"], "argument --per-task: invalid int value: 'many'"),
        (["--bundle", "no-such-bundle"], "no-such-bundle"),
        (["--world", "nonsense"], "argument --world: invalid choice: 'nonsense'"),
    ],
)
def test_bad_arguments(
    arguments: list[str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert expected in refusal(["--out", str(tmp_path / "study"), *arguments], monkeypatch, capsys)
    assert not (tmp_path / "study").exists()


def test_out_that_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "study").write_text("")
    assert "expected a folder" in refusal(["--out", str(tmp_path / "study")], monkeypatch, capsys)


@pytest.mark.parametrize("report_only", [True, False])
def test_a_bundle_of_another_world(
    report_only: bool,
    tmp_path: Path,
    minimal_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["--out", str(tmp_path / "study"), "--bundle", str(minimal_bundle), "--world", "pictograms"]
    said = refusal([*arguments, *(["--report-only"] if report_only else [])], monkeypatch, capsys)
    assert "--world: expected a bundle of the family captioned for pictograms, got demo" in said
    assert not (tmp_path / "study").exists()


def test_names_are_unique_in_their_section() -> None:
    for section in SECTIONS:
        names = [item.name for item in variants_of([section])]
        assert len(set(names)) == len(names) > 0
        assert all(item.section == section for item in variants_of([section]))


def test_features_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_rows: MakeRows) -> None:
    config = TokenizerConfig(codes=16, code_dim=4, width=8, encoder_blocks=1, decoder_blocks=1)
    tokenizer = Tokenizer(config).eval()
    rows = make_rows("default", [True] * 3)
    first = features_of(rows[:2], tokenizer, tmp_path)
    assert {value.shape for value in first.values()} == {(16,)}
    calls = []
    whole = tokenizer.images_from_tokens

    def counted(tokens: torch.Tensor) -> torch.Tensor:
        calls.append(len(tokens))
        return whole(tokens)

    monkeypatch.setattr(tokenizer, "images_from_tokens", counted)
    again = features_of(rows, tokenizer, tmp_path)
    assert calls == [1]
    assert all((again[key] == value).all() for key, value in first.items())
    (tmp_path / "features.npz").write_bytes(b"PK torn")
    features_of(rows, tokenizer, tmp_path)
    assert calls == [1, 3]


def test_rows_of_another_bundle_are_not_reported(
    tmp_path: Path,
    demo_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    make_rows: MakeRows,
) -> None:
    with RowLog(tmp_path) as log:
        for row in make_rows("default", [True] * 3):
            log.add(row)
    arguments = ["--out", str(tmp_path), "--bundle", str(demo_bundle), "--report-only"]
    assert "expected rows of this bundle's variants, got none" in refusal(arguments, monkeypatch, capsys)
    assert [path.name for path in tmp_path.iterdir()] == [ROWS_NAME]
    assert len(read_rows(tmp_path)) == 3


def test_a_study_that_is_terminated_says_so_in_a_line(demo_bundle: Path, tmp_path: Path) -> None:
    """Its workers end without a word; the rows that they drew are there."""
    arguments = ["--bundle", str(demo_bundle), "--out", str(tmp_path), "--sections", "controls", "--only", "default"]
    with subprocess.Popen(
        [sys.executable, "-m", "mulo_sd.conformance.study", *arguments], stderr=subprocess.PIPE, text=True
    ) as study:
        until = time.monotonic() + 300
        while not ((tmp_path / ROWS_NAME).exists() and (tmp_path / ROWS_NAME).stat().st_size):
            assert study.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        study.terminate()
        assert study.wait(60) == 130
        assert study.stderr is not None
        assert study.stderr.read() == "stopped; the same command goes on from here\n"
    assert read_rows(tmp_path)
