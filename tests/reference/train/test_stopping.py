"""Early stop: the decay begins where the held-out loss no longer falls, then the run ends, with the best weights."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mulo_sd.reference.train.autoregressive import AutoregressiveTrainee
from mulo_sd.reference.train.checkpoints import RunError
from mulo_sd.reference.train.context import RescaledContext
from mulo_sd.reference.train.judges import HeldOutJudge
from mulo_sd.reference.train.run import Run
from mulo_sd.reference.train.schedule import DECAY_SHARE, rate_at
from mulo_sd.reference.train.stopping import Stopping
from mulo_sd.reference.transformer import TransformerConfig
from tests.reference.train.folder.made import Opened, add_pictures
from tests.reference.train.killed import Killable, Killed, assert_equal
from tests.reference.train.tiny import TOKENIZER, autoregressive_trainee, make_tokenizer

STEPS, PATIENCE = 100, 3  # so that every fourth step is judged

pytestmark = pytest.mark.usefixtures("no_curves")


class Scripted(HeldOutJudge):
    """A judge that says what it was told to, and notes the weights that it was asked for."""

    def __init__(self, trainee: AutoregressiveTrainee, losses: list[float], first: int = 0) -> None:
        super().__init__(trainee)
        self.losses, self.place = losses, first
        self.given: list[dict[str, Any]] = []

    def loss(self) -> float:
        self.place += 1
        return self.losses[self.place - 1]

    def weights(self) -> dict[str, Any]:
        self.given.append(super().weights())
        return self.given[-1]


class Noted(Killable):
    """A trainee that notes how many steps its run was to have at each step."""

    def __init__(self, trainee: AutoregressiveTrainee, at: int = -1) -> None:
        super().__init__(trainee, at)
        self.steps: list[int] = []

    def step(self, step: int, steps: int) -> dict[str, float]:
        self.steps.append(steps)
        return super().step(step, steps)


def scripted_run(folder: Path, losses: list[float]) -> tuple[Run, Noted, Scripted]:
    trainee = autoregressive_trainee()
    run, noted, judge = Run(folder, STEPS, patience=PATIENCE), Noted(trainee), Scripted(trainee, losses)
    run.train(noted, log_every=1, judge=judge)
    return run, noted, judge


def test_a_loss_that_rises_begins_the_decay_and_ends_the_run(tmp_path: Path) -> None:
    """The best of steps 4, 8, 12, ... is step 8; three later the decay begins, and after three more the run ends."""
    run, noted, judge = scripted_run(tmp_path / "run", [5.0, 4.0, *[4.5] * 20])
    assert (run.step, run.stopping.best) == (32, 4.0)
    assert noted.steps == [100] * 20 + [34] * 12
    rates = [rate_at(step, steps, warm_up=1) for step, steps in enumerate(noted.steps)]
    assert rates[:20] == [1.0] * 20
    assert rates[20] > 0.95, "from the top"
    assert all(later < earlier for earlier, later in pairwise(rates[20:]))
    trainee = noted.trainee
    assert isinstance(trainee, AutoregressiveTrainee)
    assert_equal(dict(trainee.model.state_dict()), judge.given[-1])
    assert len(judge.given) == 2
    saved = run.saved() or {}
    assert (saved["finished"], saved["step"]) == (True, 32)
    assert_equal(dict(saved["trainee"]["model"]), judge.given[-1])


def test_a_decay_that_helps_is_taken_to_its_end(tmp_path: Path) -> None:
    run, _, judge = scripted_run(tmp_path / "run", [5.0, 4.0, 4.5, 4.5, 4.5, 3.5, 3.0, 2.5, 2.0])
    assert (run.step, run.stopping.best) == (34, 2.0)
    assert [row["held_out"] for row in run.history if "held_out" in row][-1] == 2.0
    assert len(judge.given) == 6


def test_a_decay_never_makes_a_run_longer() -> None:
    stopping = Stopping(100, 1)
    assert stopping.judged(80, 1.0)
    assert not stopping.judged(84, 2.0)
    assert stopping.end == 84, "it was decaying already"
    stopping = Stopping(100, 1)
    stopping.judged(52, 1.0)
    stopping.judged(56, 2.0)
    assert stopping.end == 94
    stopping.judged(60, 0.5)
    assert (stopping.end, stopping.best) == (94, 0.5)


@pytest.mark.parametrize(("share", "at", "end"), [(0.75, 8, 32), (0.9, 12, 12), (1.0, 4, 4), (0.0, 40, 41)])
def test_a_decay_of_another_length_begins_early_as_well(share: float, at: int, end: int) -> None:
    stopping = Stopping(100, 1, share)
    stopping.judged(at - 1, 1.0)
    stopping.judged(at, 2.0)
    assert stopping.end == end


def test_without_patience_nothing_ends_early_but_the_best_weights_stay(tmp_path: Path) -> None:
    trainee = autoregressive_trainee()
    run, judge = Run(tmp_path / "run", 12), Scripted(trainee, [3.0, 2.0, *[9.0] * 10])
    run.train(trainee, log_every=1, judge=judge)
    assert run.step == 12
    assert_equal(dict(trainee.model.state_dict()), judge.given[1])


def test_a_run_that_keeps_the_last_weights_judges_and_keeps_them(tmp_path: Path) -> None:
    trainee = autoregressive_trainee()
    run, judge = Run(tmp_path / "run", 12, keep_best=False), Scripted(trainee, [3.0, 2.0, *[9.0] * 10])
    noted = Noted(trainee)
    run.train(noted, log_every=1, judge=judge)
    assert (run.step, run.stopping.best, judge.given) == (12, 2.0, [])
    assert [row["held_out"] for row in run.history] == [3.0, 2.0, *[9.0] * 10]
    last = {name: value.clone() for name, value in trainee.model.state_dict().items()}
    assert_equal(dict((run.saved() or {})["trainee"]["model"]), last)
    again, unbroken = Run(tmp_path / "again", 12), autoregressive_trainee()
    again.train(unbroken, log_every=1)
    assert_equal(dict(unbroken.model.state_dict()), last)


@pytest.mark.parametrize("at", [9, 19, 20, 31])
def test_a_run_that_is_killed_ends_as_early_with_the_same_weights(at: int, tmp_path: Path) -> None:
    losses = [5.0, 4.0, *[4.5] * 20]
    _, unbroken, _ = scripted_run(tmp_path / "unbroken", losses)
    trainee = autoregressive_trainee()
    first = Run(tmp_path / "killed", STEPS, patience=PATIENCE, save_seconds=-1.0)
    with pytest.raises(Killed):
        first.train(Noted(trainee, at), log_every=1, judge=Scripted(trainee, losses))
    trainee = autoregressive_trainee()
    again = Run(tmp_path / "killed", STEPS, patience=PATIENCE)
    again.train(trainee, log_every=1, judge=Scripted(trainee, losses, at // 4))
    assert again.step == 32
    assert_equal(trainee.state_dict(), unbroken.state_dict())


def test_held_out_loss_that_is_no_number_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="run: expected a finite loss on held-out pictures, got nan at step 8"):
        scripted_run(tmp_path / "run", [5.0, float("nan")])


def test_a_model_that_learns_its_pictures_by_heart_is_stopped(tmp_path: Path) -> None:
    """Eight pictures of noise to learn from: the loss on eight others rises while that on its own goes to nothing."""
    add_pictures(tmp_path / "images", 16)
    examples = Opened(tmp_path / "images", tmp_path / "cache").examples
    config = TransformerConfig(
        *(4, 4, TOKENIZER.codes, 1, 2, 32),
        prefix_length=examples.prefix_length,
        prefix_vocabulary=examples.prefix_vocabulary,
    )
    trainee = AutoregressiveTrainee(config, make_tokenizer(), examples, 3, 8, 0.02, RescaledContext(0.0, ()))
    begun = trainee.held_out_loss(8)
    run = Run(tmp_path / "run", 400, patience=3)
    run.train(trainee, log_every=4, judge=HeldOutJudge(trainee, 8))
    judged = {row["step"]: row["held_out"] for row in run.history if "held_out" in row}
    best = min(judged, key=lambda step: judged[step])
    assert run.step < 400
    assert best < run.step * (1 - DECAY_SHARE)
    assert judged[run.step] > 1.5 * judged[best]
    assert run.history[-1]["loss"] < 0.2 * judged[best]
    assert trainee.held_out_loss(8) == pytest.approx(judged[best])
    assert judged[best] < begun
