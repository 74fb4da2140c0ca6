"""A run ends in order: asked by a signal, with a loss that is no number, on a full disk, where others train."""

import json
import math
import os
import signal
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from mulo_sd.reference.train import run
from mulo_sd.reference.train.checkpoints import RunError
from mulo_sd.reference.train.run import Trainee
from mulo_sd.reference.train.stop_request import Stopped
from tests.reference.train.killed import STEPS, Killable, Killed, assert_equal, busy_run
from tests.reference.train.tiny import tokenizer_trainee

pytestmark = pytest.mark.usefixtures("no_curves")


class Signalled(Killable):
    """A trainee in whose step `at` a signal comes, or in whose drawing, where that is -1."""

    def __init__(self, trainee: Trainee, at: int, number: signal.Signals) -> None:
        super().__init__(trainee, at)
        self.number, self.drawn = number, False

    def step(self, step: int, steps: int) -> dict[str, float]:
        if step == self.at:
            os.kill(os.getpid(), self.number)
        return self.trainee.step(step, steps)

    def draw(self, path: Path) -> None:
        if self.at == -1:
            os.kill(os.getpid(), self.number)
        self.trainee.draw(path)
        self.drawn = True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("at", [0, 3, STEPS - 1])
def test_run_that_is_asked_to_end_writes_its_checkpoint_first(at: int, number: signal.Signals, tmp_path: Path) -> None:
    """In the middle of a row of the log, too; handlers of signals are what they were."""
    unbroken = tokenizer_trainee()
    busy_run(tmp_path / "unbroken").train(unbroken, log_every=4)
    before = signal.getsignal(number)
    told = f"^stopped: stopped at step {at + 1} of {STEPS}; the same command goes on from there$"
    with pytest.raises(Stopped, match=told):
        busy_run(tmp_path / "stopped", save_seconds=1000).train(Signalled(tokenizer_trainee(), at, number), log_every=4)
    assert signal.getsignal(number) is before
    resumed = tokenizer_trainee()
    again = busy_run(tmp_path / "stopped")
    assert (again.saved() or {})["step"] == at + 1
    again.train(resumed, log_every=4)
    assert_equal(resumed.state_dict(), unbroken.state_dict())
    lines = [(tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("unbroken", "stopped")]
    rows = [[json.loads(line) | {"seconds": 0} for line in text] for text in lines]
    assert rows[0] == rows[1]


def test_drawing_is_broken_off(tmp_path: Path) -> None:
    """It can take long, and can be made again; the weights are there."""
    trainee = Signalled(tokenizer_trainee(), -1, signal.SIGTERM)
    with pytest.raises(Stopped, match="stopped at step 2 of 2"):
        busy_run(tmp_path / "run", steps=2).train(trainee, log_every=1)
    assert not trainee.drawn
    assert {path.name for path in (tmp_path / "run").iterdir()} == {".lock", "checkpoint.pt", "log.jsonl"}
    again = Signalled(tokenizer_trainee(), -2, signal.SIGTERM)
    busy_run(tmp_path / "run", steps=2).train(again, log_every=1)
    assert again.drawn


class Failing(Killable):
    """A trainee whose loss is no number from step `at` on."""

    def step(self, step: int, steps: int) -> dict[str, float]:
        return self.trainee.step(step, steps) | ({"loss": math.nan} if step >= self.at else {})


def test_loss_that_is_no_number_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"^run: expected a finite loss, got nan at step 4; begin again in"):
        busy_run(tmp_path / "run").train(Failing(tokenizer_trainee(), 2), log_every=4)
    with pytest.raises(RunError, match=r"got nan at step 4"):
        busy_run(tmp_path / "run").train(Failing(tokenizer_trainee(), 2), log_every=4)


def test_tokenizer_whose_loss_is_no_number_says_so(tmp_path: Path) -> None:
    """In the step in which dead codes would be drawn anew by errors that are none."""
    trainee = tokenizer_trainee()
    with torch.no_grad():
        next(trainee.tokenizer.parameters()).fill_(math.nan)
    with pytest.raises(RunError, match=r"^run: expected a finite loss, got nan at step 1"):
        busy_run(tmp_path / "run").train(trainee, log_every=1)


@pytest.mark.parametrize("content", [b"", b"no log\n", b"[1]}\n", b'{"step": "a"}\n', b"\xff}\n"])
def test_broken_log_is_told(content: bytes, tmp_path: Path) -> None:
    busy_run(tmp_path / "run", steps=2).train(tokenizer_trainee(), log_every=1)
    log = tmp_path / "run" / "log.jsonl"
    log.write_bytes(log.read_bytes() + content)
    if content in (b"", b"no log\n"):  # as a kill leaves it, or a line that is none of ours
        busy_run(tmp_path / "run", steps=2).train(tokenizer_trainee(), log_every=1)
        assert len(log.read_text().splitlines()) == 2
        return
    with pytest.raises(RunError, match=r"log\.jsonl: expected the log of a run, got something else; move it away"):
        busy_run(tmp_path / "run", steps=2).train(tokenizer_trainee(), log_every=1)


@pytest.mark.parametrize("field", ["trainee", "stopping", "history", "best", "seconds"])
def test_checkpoint_with_a_hole_or_nonsense_is_told(field: str, tmp_path: Path) -> None:
    begun = busy_run(tmp_path / "run", steps=2)
    begun.train(tokenizer_trainee(), log_every=1)
    state = torch.load(begun.checkpoint, weights_only=True)
    for broken in ({key: value for key, value in state.items() if key != field}, state | {field: 3 + 2j}):
        torch.save(broken, begun.checkpoint)
        if field == "best" and field in broken:
            continue  # without a judge nothing reads it
        with pytest.raises(RunError, match=r"checkpoint\.pt: expected a checkpoint of this version, got: "):
            busy_run(tmp_path / "run", steps=2).train(tokenizer_trainee(), log_every=1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_full_disk_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        busy_run(tmp_path / "run").train(Killable(tokenizer_trainee(), 3), log_every=1)
    kept = (tmp_path / "run" / "checkpoint.pt").read_bytes()
    partial = tmp_path / "run" / "checkpoint.partial"
    partial.symlink_to("/dev/full")
    with pytest.raises(RunError, match=r"checkpoint\.pt: cannot write the checkpoint: No space left on device"):
        busy_run(tmp_path / "run").train(tokenizer_trainee(), log_every=1)
    assert (tmp_path / "run" / "checkpoint.pt").read_bytes() == kept
    assert not os.path.lexists(partial)


def test_second_process_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose parent was killed may still write its last checkpoint; it is waited for, but not for ever."""
    monkeypatch.setattr(run, "ORPHAN_SECONDS", 0.1)
    (tmp_path / "run").mkdir()
    with (
        FileLock(tmp_path / "run" / ".lock"),
        pytest.raises(RunError, match=r"run: expected no other process that trains here, found one; wait for it"),
    ):
        busy_run(tmp_path / "run").train(tokenizer_trainee(), log_every=1)
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
