"""The generate command: what it writes, and what it says when something is wrong."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

PROMPT = "a red circle left of a blue square"


def _run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "engines.generate", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def _pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image)


def test_writes_everything(demo_bundle: Path, tmp_path: Path) -> None:
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
    again = _run(
        *(PROMPT, "--out", "b.png", "--plan", "p.json", "--bundle", str(demo_bundle), "--seed", "3"), folder=tmp_path
    )
    assert again.returncode == 0, again.stderr
    assert np.array_equal(_pixels(tmp_path / "b.png"), _pixels(tmp_path / "a.png"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a dog", "--out", "a.png"], "unknown word 'dog'"),
        (["two red", "--out", "a.png"], "expected a plural shape"),
        ([PROMPT, "--out", "a.gif"], "expected a file name that ends in"),
        ([PROMPT, "--out", "no/such/a.png"], "a folder that exists"),
        ([PROMPT, "--out", "a.png", "--seed", "-1"], "seed: expected"),
        ([PROMPT, "--out", "a.png", "--plan", "none.json"], "none.json"),
        ([PROMPT, "--out", "a.png", "--bundle", "nowhere"], "nowhere"),
        ([PROMPT, "--out", "a.png", "--threads", "0"], "threads: expected at least 1"),
    ],
)
def test_wrong_requests(arguments: list[str], said: str, tmp_path: Path) -> None:
    """A wrong request exits with 2 and one line, before anything is built or written."""
    done = _run(*arguments, folder=tmp_path)
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
    ],
)
def test_wrong_settings(flags: list[str], said: str, demo_bundle: Path, tmp_path: Path) -> None:
    """A setting out of its range exits with 2 and one line that names it."""
    done = _run(PROMPT, "--out", "a.png", "--bundle", str(demo_bundle), *flags, folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith(f"error: {said}: ")
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
