"""The training command killed at any moment: begun again, it ends with the same weights, byte for byte."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mulo_sd.processes import environment
from tests.reference.train.commanded import SHORT, TINY, command, files
from tests.reference.train.folder.made import add_pictures
from tests.reference.train.killed import Killed

MOST_ATTEMPTS = 60


def arguments(folder: Path, out: str) -> list[str | Path]:
    return ["--images", folder / "images", "--out", folder / out, *TINY, *SHORT, "--no-bundle"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, and what a training of them leaves that nobody broke off."""
    folder = tmp_path_factory.mktemp("kills")
    add_pictures(folder / "images", 20)
    assert command(*arguments(folder, "unbroken")).returncode == 0
    return folder


def test_killed_at_every_file_that_it_puts_in_place(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One attempt after another ends where it would put its n-th file in place, a file later each time."""
    original, count, last = Path.replace, 0, 0

    def replace(path: Path, target: Any) -> Path:
        nonlocal count
        count += 1
        if count > last:
            raise Killed
        return original(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    for attempt in range(MOST_ATTEMPTS):
        count, last = 0, attempt
        try:
            done = command(*arguments(place, "killed"))
        except Killed:
            continue
        assert done.returncode == 0, done.stderr
        break
    assert 3 < attempt < MOST_ATTEMPTS - 1
    unbroken, killed = (files(place / name) for name in ("unbroken/models", "killed/models"))
    assert {"target.safetensors", "picture.safetensors"} <= unbroken.keys()
    assert killed == unbroken
    assert not list((place / "killed").rglob("*partial*"))


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_processes_that_are_killed_and_asked_to_end(place: Path) -> None:
    """SIGKILL as soon as a file is there, then SIGTERM and Ctrl-C; the last process ends by itself."""
    out = place / "processes"
    given = [*map(str, arguments(place, "processes"))]
    program = f"""
import sys
from tests.reference.train import commanded
done = commanded.command(*{given!r})
print(done.stdout, end="")
print(done.stderr, end="", file=sys.stderr)
sys.exit(done.returncode)
"""
    root = Path(__file__).resolve().parents[3]
    endings: list[tuple[int, str]] = []
    for file, number in (
        ("picture_cache/pictures.json", signal.SIGKILL),
        ("tokenizer.run/log.jsonl", signal.SIGKILL),
        ("drafter_1.run/log.jsonl", signal.SIGTERM),
        ("models/drafter_1.safetensors", signal.SIGKILL),
        ("target.run", signal.SIGINT),
        (None, None),
    ):
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            env=environment(root),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while file is not None and process.poll() is None and not (out / file).exists():
            time.sleep(0.005)
        if number is not None:
            process.send_signal(number)
        _, error = process.communicate(timeout=300)
        assert "Traceback" not in error
        endings.append((process.returncode, error))
    assert [status for status, _ in endings[:2]] == [-signal.SIGKILL] * 2
    assert endings[-1][0] == 0
    for status, error in (endings[2], endings[4]):
        assert (status, len(error.splitlines())) in ((130, 1), (0, 0))  # it may be faster than the signal
        assert status == 0 or error.rstrip().endswith("the same command goes on from there")
    assert files(out / "models") == files(place / "unbroken" / "models")
