"""The benchmark's command: wrong arguments end it with one line and leave nothing behind."""

import sys
from pathlib import Path

import pytest

from mulo_sd.conformance.bench import __main__ as command


def run(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["bench", *arguments])
    try:
        return command.main()
    except SystemExit as stop:
        return stop.code


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--repeat", "0"], "--repeat: expected 1..1000, got 0"),
        (["--prompts", "0"], "--prompts: expected 1..1000, got 0"),
        (["--threads", "0"], "--threads: expected 1..1024, got 0"),
        (["--seed", "-1"], "--seed: expected 0.."),
        (["--repeat", "many"], "argument --repeat: invalid int value: 'many'"),
        (
            ["--modes", "ar", "fast"],
            "--modes: expected some of eager, ar, ar-sweeps, zipar, serial, serial-cascade, parallel, cascade, ssd, "
            "sweeps, exact, got",
        ),
        (["--acceptance", "0.9"], "--acceptance: expected it beside --shape alone"),
        (["--tokens", "sjd=2"], "--tokens: expected it beside --shape alone"),
        (["--shape", "tar-lp-512", "--tokens", "ar=2"], "expected MODE=NUMBER of sjd, "),
        (["--shape", "tar-lp-512", "--tokens", "sjd=0.5"], "sjd: expected 1..10000 tokens a pass, got '0.5'"),
        (["--shape", "tar-lp-512", "--tokens", "sjd=nan"], "sjd: expected 1..10000 tokens a pass, got 'nan'"),
        (["--device", "cpu"], "--device: expected it beside --shape alone"),
        (["--shape", "tar-lp-512", "--acceptance", "1.5"], "--acceptance: expected 0..1, got 1.5"),
        (["--shape", "tar-lp-512", "--correlation", "-1"], "--correlation: expected 0..1000, got -1"),
        (["--shape", "nonsense", "--device", "cpu"], "--shape: expected some of llamagen-xl-512, "),
        (["--shape", "tar-lp-512", "--device", "nonsense"], "--device: PyTorch cannot use 'nonsense' here"),
        (["--shape", "tar-lp-512", "--bundle", "b"], "--shape: expected neither --bundle"),
        (["--check", "no-such-file.json"], "no-such-file.json: cannot read it"),
        (["--check", "a.json", "--record", "b.json"], "--record: expected no --check beside it"),
        (["--check", "a.json", "--quick"], "--quick: expected it without --check and --record"),
        (["--record", "no-such-folder/a.json"], "--record: expected a file in a folder that exists"),
        (["--bundle", "no-such-bundle"], "no-such-bundle"),
    ],
)
def test_bad_arguments(
    arguments: list[str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["--out", str(tmp_path / "bench"), *arguments], monkeypatch) == 2
    said = capsys.readouterr()
    assert said.out == ""
    error = said.err[said.err.index("error: ") :]
    assert expected in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "bench").exists()


def test_a_backend_that_is_none(
    demo_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--out", str(tmp_path / "bench"), "--bundle", str(demo_bundle), "--backend", "nonsense"]
    assert run(arguments, monkeypatch) == 2
    assert "argument --backend: expected one of ort" in capsys.readouterr().err
    assert not (tmp_path / "bench").exists()


def test_out_that_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bench").write_text("")
    assert run(["--out", str(tmp_path / "bench")], monkeypatch) == 2
    assert "--out: expected a folder, got the file" in capsys.readouterr().err
