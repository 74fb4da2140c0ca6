"""What a calibration writes, with measurements that a test chooses."""

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mulo_sd import engines
from mulo_sd.conformance.calibrate import __main__ as command
from mulo_sd.conformance.calibrate.candidates import SWEPT, Candidate, candidates_of
from mulo_sd.conformance.calibrate.search import Sample
from mulo_sd.engines.bundle import open_bundle


class ChosenMeter:
    """Measures what a rule says: a larger radius keeps more and takes longer."""

    def __init__(self, *_: Any) -> None:
        self.distances: dict[Candidate, list[float]] = {}
        self.baselines = {0: SimpleNamespace(result=SimpleNamespace(stats=SimpleNamespace(seconds=4.0)))}

    def measure(self, candidate: Candidate, _: int) -> Sample:
        self.distances.setdefault(candidate, []).append(1.0)
        lost = {0: 0.5, 1: 0.2, 2: 0.01, 3: 0.0}[candidate.radius]
        passes = 100 * candidate.radius + candidate.neighbours
        return Sample(-lost, 1.0 + candidate.radius, passes)


@pytest.fixture
def bundle(demo_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(demo_bundle, tmp_path / "bundle"))


def run(bundle: Path, extra: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, Path]:
    """Run the command on four prompts; return its status and the folder of the prompts."""
    folder = bundle.parent / "prompts"
    folder.mkdir()
    (folder / "prompts.txt").write_text("a circle\n" * 4)
    arguments = ["--bundle", str(bundle), "--prompts", str(folder / "prompts.txt"), "--budget", "5", *extra]
    monkeypatch.setattr(command, "Meter", ChosenMeter)
    monkeypatch.setattr(sys, "argv", ["calibrate", *arguments])
    return command.main(), folder


def test_the_fastest_that_keeps_the_agreement_reaches_the_bundle(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, folder = run(bundle, [], monkeypatch)
    assert status == 0
    settings = engines.load(bundle, threads=1).settings()
    assert (settings.mode, settings.radius, settings.neighbours) == ("parallel", 2, 4)  # passes break the tie
    presets = open_bundle(bundle).manifest.presets
    assert presets == {"windows": settings, "passes": settings}
    assert (folder / "calibration.png").read_bytes().startswith(b"\x89PNG")


def test_dry_run_writes_nothing(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (bundle / "manifest.json").read_bytes()
    status, folder = run(bundle, ["--dry-run"], monkeypatch)
    assert status == 0
    assert (bundle / "manifest.json").read_bytes() == before
    assert [path.name for path in folder.iterdir()] == ["prompts.txt"]


def test_a_bundle_that_cannot_keep_it_stays(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nothing_keeps(meter: ChosenMeter, candidate: Candidate, _: int) -> Sample:
        meter.distances.setdefault(candidate, []).append(1.0)
        return Sample(-1.0, 1.0, 1)

    before = (bundle / "manifest.json").read_bytes()
    monkeypatch.setattr(ChosenMeter, "measure", nothing_keeps)
    status, _ = run(bundle, [], monkeypatch)
    assert status == 1
    assert "no candidate loses at most 0.02" in capsys.readouterr().err
    assert (bundle / "manifest.json").read_bytes() == before


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (["--world", "pictograms"], "--world: expected a bundle of the family captioned for pictograms, got demo"),
        (["--world", "demo"], ""),
    ],
)
def test_the_world_is_the_bundles(
    extra: list[str], expected: str, bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (bundle / "manifest.json").read_bytes()
    status, _ = run(bundle, extra, monkeypatch)
    assert status == (2 if expected else 0)
    said = capsys.readouterr().err
    assert expected in said
    assert len(said.splitlines()) == (1 if expected else 0)
    assert ((bundle / "manifest.json").read_bytes() == before) == bool(expected)


def test_a_short_budget_tries_every_radius_and_sweeps_first() -> None:
    candidates = candidates_of("parallel", 1024, anchor=8.0)
    assert candidates[:4] == [Candidate(0.2, radius, 16) for radius in (0, 1, 2, 3)]
    by_sweeps = 4 * (len(SWEPT) + 2 * 2)  # the bundle's own anchor and, of two schedules, two others
    first = candidates[: 4 + by_sweeps]
    assert {item.anchor for item in first} == {None, 16.0, 32.0}
    assert {(item.tau, item.neighbours) for item in first} == {(0.2, 16)}
    assert sum(item.is_by_sweeps for item in first) == sum(item.is_by_sweeps for item in candidates) == by_sweeps
    assert len(set(candidates)) == len(candidates) == 36 + by_sweeps
    assert len({item.name for item in candidates}) == len(candidates)
    assert first[4].name == "tau 0.2, radius 0, 16 neighbours; 1 sweep, all cells; draft by 6 sweeps"
    assert (
        first[-1].name
        == "tau 0.2, radius 3, 16 neighbours, anchor 32; sweeps without limit, all cells; draft by sweeps without limit"
    )


def test_a_mode_that_always_resamples_by_sweeps_has_no_choice_of_them() -> None:
    candidates = candidates_of("serial", 8, anchor=8.0)
    assert not any(item.is_by_sweeps for item in candidates)
    assert {item.neighbours for item in candidates} == {8, 4}


def test_sweeps_that_are_faster_reach_the_bundle(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sweeps_are_fast(meter: ChosenMeter, candidate: Candidate, _: int) -> Sample:
        meter.distances.setdefault(candidate, []).append(1.0)
        few = candidate.is_by_sweeps and candidate.sweeps == 4
        return Sample(0.0, (1.0 if few else 2.0) + candidate.radius, 10)

    monkeypatch.setattr(ChosenMeter, "measure", sweeps_are_fast)
    assert run(bundle, [], monkeypatch)[0] == 0
    settings = engines.load(bundle, threads=1).settings()
    assert (settings.resample_by, settings.sweeps, settings.sweep_width) == ("sweeps", 4, "auto")
    assert (settings.draft_by, settings.draft_sweeps, settings.radius) == ("sweeps", 6, 0)
    presets = open_bundle(bundle).manifest.presets
    assert presets["passes"] == settings.changed(sweep_width=None)
    assert presets["windows"].resample_by == "windows"


def test_a_mode_without_that_choice_gets_no_presets(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_bundle(bundle).manifest.presets
    assert run(bundle, ["--mode", "serial"], monkeypatch)[0] == 0
    assert engines.load(bundle, threads=1).settings().mode == "serial"
    assert open_bundle(bundle).manifest.presets == before
