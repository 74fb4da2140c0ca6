"""Workers of the training command: the same models as of one, a line where they fail, an end where it is asked for."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from safetensors.torch import load_file

from mulo_sd.processes import environment
from mulo_sd.reference.train.checkpoints import RunError
from mulo_sd.reference.train.devices import CPU
from mulo_sd.reference.train.run_workers import run_workers
from mulo_sd.reference.train.workers import Workers
from tests.reference.train.commanded import TINY, command
from tests.reference.train.folder.made import add_pictures

STEPS = 6


def arguments(folder: Path, out: str, steps: int = STEPS) -> list[str | Path]:
    tiny = ("--images", folder / "images", "--out", folder / out, *TINY, "--batch", "4", "--steps", str(steps))
    return ["drafter_1", *tiny]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures and a tokenizer of them."""
    folder = tmp_path_factory.mktemp("workers")
    add_pictures(folder / "images", 20)
    for out in ("one", "two", "stopped"):
        done = command("tokenizer", "--images", folder / "images", "--out", folder / out, *TINY, "--steps", "1")
        assert done.returncode == 0, done.stderr
    return folder


def test_two_workers_train_what_one_does(place: Path) -> None:
    """But for rounding, in bfloat16 and in sums of another order; losses are of the whole batch."""
    assert command(*arguments(place, "one")).returncode == 0
    done = command(*arguments(place, "two"), "--workers", "2")
    assert done.returncode == 0, done.stderr
    one, two = (load_file(place / name / "models" / "drafter_1.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, expected in one.items():
        error = (two[name].float() - expected.float()).abs().max()
        assert error <= 0.02 * expected.float().abs().max() + 1e-3, name
    rows = [json.loads((place / name / "drafter_1.run" / "log.jsonl").read_text()) for name in ("one", "two")]
    assert rows[0]["loss"] == pytest.approx(rows[1]["loss"], rel=1e-3)
    assert rows[0]["held_out"] == pytest.approx(rows[1]["held_out"], rel=1e-3)


def test_a_finished_run_goes_on_with_any_number_of_workers(place: Path) -> None:
    command(*arguments(place, "one"))
    done = command(*arguments(place, "one"), "--workers", "4")
    assert "drafter_1: trained already" in done.stdout


def fail(what: str, workers: Workers) -> None:
    """End as workers may: one tells of it, or is killed."""
    if workers.rank == 0:
        if what == "told":
            raise RunError("a line for the user")
        if what == "disk":
            raise OSError(28, "No space left on device", "somewhere")
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)  # it waits for the other one


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize(
    ("what", "kind", "told"),
    [
        ("told", RunError, "^a line for the user$"),
        ("disk", OSError, "No space left on device: 'somewhere'"),
        ("killed", RunError, "^a worker ended: process 0 terminated with signal SIGKILL$"),
    ],
)
def test_a_worker_that_fails_is_told_of_and_ends_the_others(
    what: str, kind: type[Exception], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mulo_sd.reference.train.run_workers.GRACE_SECONDS", 0.5)
    with pytest.raises(kind, match=told):
        run_workers(2, 1, CPU, partial(fail, what))


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_workers_end_together_when_they_are_asked_to(place: Path) -> None:
    """The parent alone hears of it; the checkpoint is there, and the same command goes on from it."""
    given = [*map(str, arguments(place, "stopped", 100_000)), "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mulo_sd.reference.train", *given],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    log = place / "stopped" / "drafter_1.run" / "log.jsonl"
    while process.poll() is None and not log.exists():
        time.sleep(0.05)
    process.terminate()
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130, error
    told = [line for line in error.splitlines() if not line.startswith("images: ")]  # the reader's progress
    assert len(told) == 1, error
    assert told[0].startswith("drafter_1: stopped at step ")
    assert (place / "stopped" / "drafter_1.run" / "checkpoint.pt").exists()
    assert not (place / "stopped" / "models" / "drafter_1.safetensors").exists()
