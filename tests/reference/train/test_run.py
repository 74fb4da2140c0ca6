"""A training run that is interrupted and resumed ends as one that was not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mulo_sd.reference.train.run import Run, Trainee
from mulo_sd.reference.train.workers import Workers
from tests.reference.train.killed import STEPS, Killable, Killed, assert_equal, busy_run
from tests.reference.train.tiny import autoregressive_trainee, block_trainee, head_trainee, tokenizer_trainee


@pytest.mark.usefixtures("no_curves")
@pytest.mark.parametrize("make", [tokenizer_trainee, autoregressive_trainee])
def test_run_killed_in_any_step_ends_as_an_unbroken_one(make: Callable[[], Trainee], tmp_path: Path) -> None:
    """Weights, optimizer state and history; checkpoints follow every step, where no row of the log ends, too."""
    unbroken = make()
    unbroken_run = busy_run(tmp_path / "unbroken")
    unbroken_run.train(unbroken, log_every=2)
    for at in range(STEPS):
        folder = tmp_path / f"killed-{at}"
        with pytest.raises(Killed):
            busy_run(folder).train(Killable(make(), at), log_every=2)
        resumed = make()
        again = busy_run(folder)
        again.train(resumed, log_every=2)
        assert_equal(resumed.state_dict(), unbroken.state_dict())
        assert again.history == unbroken_run.history
        assert again.log.path.read_text().count("\n") == STEPS // 2


@pytest.mark.usefixtures("no_curves")
@pytest.mark.parametrize("make", [tokenizer_trainee, autoregressive_trainee, head_trainee, block_trainee])
def test_run_killed_twice_ends_as_an_unbroken_one(make: Callable[[], Trainee], tmp_path: Path) -> None:
    unbroken = make()
    busy_run(tmp_path / "unbroken").train(unbroken, log_every=1)
    for at in (2, 4):
        with pytest.raises(Killed):
            busy_run(tmp_path / "killed").train(Killable(make(), at), log_every=1)
    resumed = make()
    busy_run(tmp_path / "killed").train(resumed, log_every=1)
    assert_equal(resumed.state_dict(), unbroken.state_dict())


@pytest.mark.usefixtures("no_curves")
def test_the_comparison_would_notice_a_lost_step(tmp_path: Path) -> None:
    trainee = tokenizer_trainee()
    busy_run(tmp_path / "run").train(trainee, log_every=1)
    other = tokenizer_trainee()
    for step in range(STEPS - 1):
        other.step(step, STEPS)
    with pytest.raises(AssertionError):
        assert_equal(other.state_dict(), trainee.state_dict())


@pytest.mark.usefixtures("no_curves")
@pytest.mark.parametrize("where", ["torch.save", "pathlib.Path.replace"])
def test_run_killed_while_saving_keeps_the_last_checkpoint(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a checkpoint is never taken for a whole one."""
    unbroken = tokenizer_trainee()
    busy_run(tmp_path / "unbroken").train(unbroken, log_every=1)
    saves = 0
    if where == "torch.save":
        original: Callable[..., Any] = torch.save
    else:
        original = Path.replace

    def killed(*arguments: Any) -> Any:
        nonlocal saves
        saves += 1
        if saves < 3:
            return original(*arguments)
        if where == "torch.save":
            arguments[1].write(b"half a checkpoint")
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(where, killed)
        with pytest.raises(Killed):
            busy_run(tmp_path / "killed").train(tokenizer_trainee(), log_every=1)
    assert (tmp_path / "killed" / "checkpoint.partial").exists()
    assert torch.load(tmp_path / "killed" / "checkpoint.pt", weights_only=True)["step"] == 2
    resumed = tokenizer_trainee()
    again = busy_run(tmp_path / "killed")
    again.train(resumed, log_every=1)
    assert_equal(resumed.state_dict(), unbroken.state_dict())
    # The step whose checkpoint was lost had been logged already.
    assert [json.loads(line)["step"] for line in again.log.path.read_text().splitlines()] == [1, 2, 3, 4, 5, 6]


def test_finished_run_leaves_log_curves_and_samples_and_does_not_train_again(tmp_path: Path) -> None:
    finished = Run(tmp_path / "run", 2)
    finished.train(tokenizer_trainee(), log_every=1)
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    assert all(row.keys() == {"step", "loss", "psnr_db", "codes_used", "seconds"} for row in rows)
    there = {path.name for path in finished.folder.iterdir()} - {".lock"}
    assert there == {"checkpoint.pt", "curves.png", "log.jsonl", "samples.png"}
    Run(tmp_path / "run", 2).train(Killable(tokenizer_trainee(), at=0))
    Run(tmp_path / "run", 2).train(Killable(tokenizer_trainee(), at=1))


def test_worker_that_does_not_lead_writes_nothing(tmp_path: Path) -> None:
    Run(tmp_path / "run", 1, workers=Workers(1, 1)).train(tokenizer_trainee(), log_every=1)
    assert not (tmp_path / "run").exists()
