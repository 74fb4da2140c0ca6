"""The regression check: the demo's passes are as recorded, and whatever moves is named."""

import json
import sys
import time
from pathlib import Path

import pytest

from mulo_sd.conformance.bench import __main__ as command
from mulo_sd.conformance.bench.check import EXPECTED, LONG, Expected, compared, read_expected
from mulo_sd.conformance.bench.demo_table import Measurements
from mulo_sd.conformance.bench.errors import BenchError
from mulo_sd.conformance.bench.modes import ENGINE_MODES


def run(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["bench", *arguments])
    return command.main()


def test_the_demo_is_as_expected(
    demo_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started, error = time.perf_counter(), ""
    for _ in range(3):  # passes never vary; the host's share of a decode does where another process takes the processor
        if run(["--check", str(EXPECTED), "--bundle", str(demo_bundle)], monkeypatch) == 0:
            break
        error = capsys.readouterr().err
        assert "passes" not in error, error
    else:
        pytest.fail(error)
    print(f"{time.perf_counter() - started:.1f} s")
    assert f"{len(ENGINE_MODES)} modes as expected" in capsys.readouterr().out


def test_a_moved_pass_is_named(
    demo_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "expected.json"
    arguments = ["--bundle", str(demo_bundle), "--modes", "zipar", "--prompts", "1"]
    assert run(["--record", str(path), *arguments], monkeypatch) == 0
    assert run(["--check", str(path), "--bundle", str(demo_bundle)], monkeypatch) == 0
    content = json.loads(path.read_text())
    passes = content["modes"]["zipar"]["nfe_target"][0]
    content["modes"]["zipar"] |= {"nfe_target": [passes + 1], "largest_host_share": 0.0}
    path.write_text(json.dumps(content))
    capsys.readouterr()
    assert run(["--check", str(path), "--bundle", str(demo_bundle)], monkeypatch) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {path}: moved: zipar: target passes: expected [{passes + 1}], got [{passes}]; ")
    assert "zipar: host share: expected at most 0%, got " in error
    assert len(error.splitlines()) == 1


def test_another_bundle_is_refused(
    demo_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "expected.json"
    path.write_text(json.dumps(json.loads(EXPECTED.read_text()) | {"bundle": "another"}))
    assert run(["--check", str(path), "--bundle", str(demo_bundle)], monkeypatch) == 2
    assert "expects the bundle another in fp32, got mulo-sd demo in fp32" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"modes": 1}', json.dumps({"bundle": "b", "prompts": 0})])
def test_a_file_of_something_else_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "expected.json").write_text(text)
    with pytest.raises(BenchError, match="write it anew with --record"):
        read_expected(tmp_path / "expected.json")


def test_what_is_expected_covers_every_mode() -> None:
    expected = read_expected(EXPECTED)
    assert set(expected.modes) == {mode.name for mode in ENGINE_MODES}
    for name, mode in expected.modes.items():
        assert len(mode.nfe_target) == len(mode.nfe_drafter) == (1 if name in LONG else expected.prompts)


def test_a_mode_that_is_gone_is_named() -> None:
    mode = {"nfe_target": [1], "nfe_drafter": [0], "largest_host_share": 1.0}
    expected = Expected.model_validate({"bundle": "b", "precision": "fp32", "prompts": 1, "modes": {"ar": mode}})
    assert compared({}, expected) == ["ar: expected the mode, the bundle does not allow it"]
    own = Measurements(host_share=[0.5], nfe_target={0: 1}, nfe_drafter={0: 0})
    assert compared({"ar": own}, expected) == []


def test_a_share_that_is_no_number_is_no_share() -> None:
    """NaN is larger than no bound."""
    mode = {"nfe_target": [1], "nfe_drafter": [0], "largest_host_share": 1.0}
    expected = Expected.model_validate({"bundle": "b", "precision": "fp32", "prompts": 1, "modes": {"ar": mode}})
    own = Measurements(host_share=[float("nan")], nfe_target={0: 1}, nfe_drafter={0: 0})
    assert compared({"ar": own}, expected) == ["ar: host share: expected at most 100%, got nan%"]
