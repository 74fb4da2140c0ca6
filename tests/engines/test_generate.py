"""The generate command: what it writes, and what it says when something is wrong."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mulo_sd.engines import generate
from mulo_sd.engines.settings import MODES, Mode
from tests.in_process import InProcess

PROMPT = "a red circle left of a blue square"


def _run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mulo_sd.engines.generate", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def _pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image)


def test_writes_everything(demo_bundle: Path, in_process: InProcess, tmp_path: Path) -> None:
    """Image, overlay, trace and plan are written, and the figures printed are the trace's."""
    done = _run(
        *(PROMPT, "--out", "a.png", "--overlay", "o.png", "--trace", "t.json", "--save-plan", "p.json"),
        *("--bundle", str(demo_bundle), "--seed", "3"),
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "o.png", "p.json", "t.json"]
    trace = json.loads((tmp_path / "t.json").read_text())
    assert _pixels(tmp_path / "a.png").shape == (128, 128, 3)
    assert np.array(trace["tokens"]).shape == (32, 32)
    assert f"target {trace['stats']['nfe_target']}, drafter {trace['stats']['nfe_drafter']}" in done.stdout
    assert sum(item["model"] == 0 for item in trace["passes"]) == trace["stats"]["nfe_target"]
    # The plan that was saved draws the same image.
    arguments = [PROMPT, "--out", "b.png", "--plan", "p.json", "--bundle", str(demo_bundle), "--seed", "3"]
    again = in_process.run("mulo_sd.engines.generate", *arguments, folder=tmp_path)
    assert again.returncode == 0, again.stderr
    assert np.array_equal(_pixels(tmp_path / "b.png"), _pixels(tmp_path / "a.png"))


# Every mode, with the quickest settings that still use what is new in it.
MODE_OPTIONS = {
    "ar": ["--temperature", "0"],
    "zipar": ["--window", "2", "--adaptive-window", "--temperature", "1.5", "--top-p", "1"],
    "serial": ["--drafters", "2", "--radius", "0", "--tau", "0.01"],
    "parallel": ["--drafters", "1,2", "--draft-window", "2", "--radius-nats", "2", "--up-sampler", "latent"],
    "exact": ["--drafters", "2", "--sweep-width", "48", "--temperature", "0.3"],
    "sjd": ["--jacobi-window", "64"],
    "gsd": ["--jacobi-window", "64", "--group", "50"],
    "sjd-gumbel": ["--jacobi-window", "64"],
    "sjd-maximal": ["--jacobi-window", "64", "--first-guess", "left"],
    "pjd": ["--jacobi-window", "16", "--row-lead", "4"],
    "zipar-published": ["--window", "2"],
    "eagle": ["--draft-length", "12"],
    "cool-sd": ["--draft-length", "12"],
    "specdec": ["--accept-by", "top-beta-sampled"],
    "ssd": ["--rounds", "1", "--drafters", "2"],
}
# In which no coarser grid is drafted, and what drafts beside the target then.
HEADED = {"eagle", "eagle-tree", "lantern", "lantern-plus", "cool-sd"}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode(
    mode: Mode,
    minimal_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Options reach the decode, its figures are printed, and the trace holds the events of its mode."""
    monkeypatch.chdir(tmp_path)
    arguments = [PROMPT, "--out", "a.png", "--trace", "t.json", "--overlay", "o.png", "--threads", "1"]
    command = ["generate", *arguments, "--mode", mode, "--bundle", str(minimal_bundle), *MODE_OPTIONS.get(mode, [])]
    monkeypatch.setattr(sys, "argv", command)
    assert generate.main() == 0
    trace = json.loads(Path("t.json").read_text())
    printed, stats = capsys.readouterr().out, trace["stats"]
    assert printed.startswith(f"a.png: 16 x 16 pixels, mode {mode}\n")
    assert f"  passes (NFE): target {stats['nfe_target']}, drafter {stats['nfe_drafter']}\n" in printed
    assert re.search(r"^  time: \d+\.\d\d s$", printed, re.MULTILINE)
    accepted = f"  draft tokens accepted: {stats['acceptance_rate']:.1%}, resampled: {stats['resampled_rate']:.1%}\n"
    assert (accepted in printed) == ("draft tokens" in printed) == MODES[mode].drafts
    swept = f"  sweeps of the target: {stats['sweeps']}, of at most {stats['widest_sweep']} cells\n"
    assert (swept in printed) == (stats["sweeps"] > 0)
    check_trace(mode, trace)
    # Only drafted cells are tinted.
    plain = _pixels(Path("a.png")).repeat(4, axis=0).repeat(4, axis=1)
    assert np.array_equal(_pixels(Path("o.png"))[: len(plain)], plain) == (not MODES[mode].drafts)


def check_trace(mode: Mode, trace: dict[str, Any]) -> None:
    """Check a written trace against its own figures and for the events that a mode has."""
    settings, passes, cycles = trace["settings"], trace["passes"], trace["cycles"]
    assert settings["mode"] == mode
    chain = settings["drafters"] if MODES[mode].drafts else []
    beside = {9} if mode in HEADED else {10} if mode == "specdec" else set()
    assert {item["model"] for item in passes} == {0, *chain, *beside}
    assert sum(item["model"] == 0 for item in passes) == trace["stats"]["nfe_target"]
    assert sum(item["model"] != 0 for item in passes) == trace["stats"]["nfe_drafter"]
    assert sum(cycle["model"] == 0 for cycle in cycles) == trace["stats"]["cycles"]
    assert {(cycle["model"], cycle["draft_model"]) for cycle in cycles} == set(zip([0, *chain], chain, strict=False))
    kinds = ("sampled", "sweeps", "repredicted", "speculated", "trees")
    events = {kind: sum(len(item[kind]) for item in passes) for kind in kinds}
    parts = MODES[mode]
    assert (events["speculated"] > 0) == (parts.is_speculative and not parts.has_tree)
    assert (events["trees"] > 0) == parts.has_tree
    assert (events["sampled"] > 0) == (not parts.is_speculative or parts.drafts)
    assert (events["sweeps"] > 0) == (mode in ("ar", "serial", "exact"))
    swept = [len(sweep["cells"]) for item in passes if item["model"] == 0 for sweep in item["sweeps"]]
    assert (len(swept), max(swept, default=0)) == (trace["stats"]["sweeps"], trace["stats"]["widest_sweep"])
    assert (events["repredicted"] > 0) == (mode == "zipar")
    decided = [row for cycle in cycles if cycle["model"] == 0 for row in cycle["tokens"]]
    assert decided == (trace["tokens"] if MODES[mode].drafts else [])
    radii = {radius for cycle in cycles for row in cycle["radii"] for radius in row}
    assert (len(radii) > 1) == (settings["radius_nats"] > 0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a dog", "--out", "a.png"], "unknown word 'dog'"),
        (["two red", "--out", "a.png"], "expected a plural shape"),
        ([PROMPT, "--out", "a.gif"], "expected a file name that ends in"),
        ([PROMPT, "--out", "a.png", "--viewer", "a.htm"], "expected a file name that ends in .html, got '.htm'"),
        ([PROMPT, "--out", "no/such/a.png"], "a folder that exists"),
        ([PROMPT, "--out", "a.png", "--seed", "-1"], "seed: expected"),
        ([PROMPT, "--out", "a.png", "--plan", "none.json"], "none.json"),
        ([PROMPT, "--out", "a.png", "--bundle", "nowhere"], "nowhere"),
        ([PROMPT, "--out", "a.png", "--threads", "0"], "threads: expected a whole number in 1..1024, got 0"),
    ],
)
def test_wrong_requests(arguments: list[str], said: str, in_process: InProcess, tmp_path: Path) -> None:
    """A wrong request exits with 2 and one line, before anything is built or written."""
    done = in_process.run("mulo_sd.engines.generate", *arguments, folder=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--tau", "nan"], "tau"),
        (["--radius", "-1"], "radius"),
        (["--neighbours", "100000"], "neighbours"),
        (["--guidance", "1e9"], "guidance_scale"),
        (["--top-p", "0"], "top_p"),
        (["--draft-rows", "0"], "draft_rows"),
        (["--drafters", "1,3"], "drafters"),
        (["--mode", "parallel", "--window", "0"], "window"),
        (["--mode", "ar", "--sweep-width", "0"], "sweep_width"),
        (["--preset", "fastest"], "preset"),
    ],
)
def test_wrong_settings(
    flags: list[str],
    said: str,
    demo_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A setting out of its range, or one that the bundle cannot serve, exits with 2 and one line that names it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["generate", PROMPT, "--out", "a.png", "--bundle", str(demo_bundle), *flags])
    assert generate.main() == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.strip().splitlines()[-1].startswith(f"error: {said}: ")
    assert captured.err.count("error") == 1
    assert list(tmp_path.iterdir()) == []
