"""Training: a run that is interrupted and resumed ends as one that was not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mulo_sd.engines.prompts.prefix import PREFIX_LENGTH, PREFIX_VOCABULARY
from mulo_sd.reference.demo.train.autoregressive import AutoregressiveTrainee
from mulo_sd.reference.demo.train.block import BlockTrainee
from mulo_sd.reference.demo.train.context import RescaledContext
from mulo_sd.reference.demo.train.head import HeadTrainee
from mulo_sd.reference.demo.train.run import Run, Trainee
from mulo_sd.reference.demo.train.schedule import rate_at
from mulo_sd.reference.demo.train.tokenizer import TokenizerTrainee
from mulo_sd.reference.demo.train.workers import Workers
from mulo_sd.reference.tokenizer import Tokenizer, TokenizerConfig
from mulo_sd.reference.transformer import Transformer, TransformerConfig

STEPS = 6


class Killed(BaseException):
    """Stands for the end of the process: nothing in the code under test catches it."""


class Killable:
    """A trainee that is killed in the middle of step `at`: after its weights have changed."""

    def __init__(self, trainee: Trainee, at: int) -> None:
        self.trainee, self.at = trainee, at

    def step(self, step: int, steps: int) -> dict[str, float]:
        metrics = self.trainee.step(step, steps)
        if step == self.at:
            raise Killed
        return metrics

    def state_dict(self) -> dict[str, Any]:
        return self.trainee.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.trainee.load_state_dict(state)

    def draw(self, path: Path) -> None:
        self.trainee.draw(path)


class UndrawnRun(Run):
    """A run without curves, which take far longer than a tiny step, that saves as often as it can."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, STEPS, save_seconds=-1.0)

    def draw_curves(self) -> None: ...


def tokenizer_trainee() -> Trainee:
    return TokenizerTrainee(TokenizerConfig(codes=16, code_dim=4, width=8, encoder_blocks=1, decoder_blocks=1), seed=3)


def autoregressive_trainee() -> Trainee:
    torch.manual_seed(1)
    tokenizer = Tokenizer(TokenizerConfig(codes=16, code_dim=4, width=8, encoder_blocks=1, decoder_blocks=1))
    config = TransformerConfig(
        grid_height=4,
        grid_width=4,
        vocabulary=16,
        layers=1,
        heads=2,
        dim=16,
        prefix_length=PREFIX_LENGTH,
        prefix_vocabulary=PREFIX_VOCABULARY,
    )
    return AutoregressiveTrainee(
        config,
        tokenizer,
        seed=3,
        batch=2,
        matrix_rate=0.01,
        workers=Workers(),
        object_weight=5.0,
        context=RescaledContext(share=0.5, sides=(2,)),
    )


def target_and_tokenizer() -> tuple[Transformer, Tokenizer]:
    """A target whose grid has more cells than a block, and its tokenizer."""
    torch.manual_seed(1)
    tokenizer = Tokenizer(TokenizerConfig(codes=16, code_dim=4, width=8, encoder_blocks=1, decoder_blocks=1))
    config = TransformerConfig(8, 8, 16, 2, 2, 16, prefix_length=PREFIX_LENGTH, prefix_vocabulary=PREFIX_VOCABULARY)
    return Transformer(config), tokenizer


def head_trainee() -> HeadTrainee:
    return HeadTrainee(*target_and_tokenizer(), seed=3, batch=2, matrix_rate=0.01)


def block_trainee() -> BlockTrainee:
    return BlockTrainee(*target_and_tokenizer(), seed=3, batch=2, matrix_rate=0.01)


def assert_equal(one: object, other: object) -> None:
    """Compare two states, tensors bit by bit."""
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() == other.keys()
        for key, value in one.items():
            assert_equal(value, other[key])
    elif isinstance(one, list) and isinstance(other, list):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_equal(left, right)
    else:
        assert one == other


@pytest.mark.parametrize("make", [tokenizer_trainee, autoregressive_trainee])
def test_run_killed_in_any_step_ends_as_an_unbroken_one(make: Callable[[], Trainee], tmp_path: Path) -> None:
    """Weights, optimizer state and history; there is a checkpoint after every second step."""
    unbroken = make()
    run = UndrawnRun(tmp_path / "unbroken")
    run.train(unbroken, log_every=2)
    for at in range(STEPS):
        folder = tmp_path / f"killed-{at}"
        with pytest.raises(Killed):
            UndrawnRun(folder).train(Killable(make(), at), log_every=2)
        resumed = make()
        again = UndrawnRun(folder)
        again.train(resumed, log_every=2)
        assert_equal(resumed.state_dict(), unbroken.state_dict())
        assert again.history == run.history


@pytest.mark.parametrize("make", [tokenizer_trainee, autoregressive_trainee, head_trainee, block_trainee])
def test_run_killed_twice_ends_as_an_unbroken_one(make: Callable[[], Trainee], tmp_path: Path) -> None:
    unbroken = make()
    UndrawnRun(tmp_path / "unbroken").train(unbroken, log_every=1)
    for at in (2, 4):
        with pytest.raises(Killed):
            UndrawnRun(tmp_path / "killed").train(Killable(make(), at), log_every=1)
    resumed = make()
    UndrawnRun(tmp_path / "killed").train(resumed, log_every=1)
    assert_equal(resumed.state_dict(), unbroken.state_dict())


def test_the_comparison_would_notice_a_lost_step(tmp_path: Path) -> None:
    trainee = tokenizer_trainee()
    run = UndrawnRun(tmp_path / "run")
    run.train(trainee, log_every=1)
    other = tokenizer_trainee()
    for step in range(STEPS - 1):
        other.step(step, STEPS)
    with pytest.raises(AssertionError):
        assert_equal(other.state_dict(), trainee.state_dict())


@pytest.mark.parametrize("where", ["torch.save", "pathlib.Path.replace"])
def test_run_killed_while_saving_keeps_the_last_checkpoint(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a checkpoint is never taken for a whole one."""
    unbroken = tokenizer_trainee()
    UndrawnRun(tmp_path / "unbroken").train(unbroken, log_every=1)
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
            Path(arguments[1]).write_bytes(b"half a checkpoint")
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(where, killed)
        with pytest.raises(Killed):
            UndrawnRun(tmp_path / "killed").train(tokenizer_trainee(), log_every=1)
    assert (tmp_path / "killed" / "checkpoint.partial").exists()
    assert torch.load(tmp_path / "killed" / "checkpoint.pt", weights_only=True)["step"] == 2
    resumed = tokenizer_trainee()
    again = UndrawnRun(tmp_path / "killed")
    again.train(resumed, log_every=1)
    assert_equal(resumed.state_dict(), unbroken.state_dict())
    # The step whose checkpoint was lost had been logged already.
    assert [json.loads(line)["step"] for line in again.log.read_text().splitlines()] == [1, 2, 3, 4, 5, 6]


def test_finished_run_leaves_log_curves_and_samples_and_does_not_train_again(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", 2)
    run.train(tokenizer_trainee(), log_every=1)
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    assert all(row.keys() == {"step", "loss", "psnr_db", "codes_used", "seconds"} for row in rows)
    assert {path.name for path in run.folder.iterdir()} == {"checkpoint.pt", "curves.png", "log.jsonl", "samples.png"}
    Run(tmp_path / "run", 2).train(Killable(tokenizer_trainee(), at=0))
    Run(tmp_path / "run", 2).train(Killable(tokenizer_trainee(), at=1))


def test_worker_that_does_not_lead_writes_nothing(tmp_path: Path) -> None:
    Run(tmp_path / "run", 1, leader=False).train(tokenizer_trainee(), log_every=1)
    assert list((tmp_path / "run").iterdir()) == []


@settings(deadline=None)
@given(st.integers(1, 10_000), st.integers(1, 200), st.floats(0.0, 1.0))
def test_rate_rises_stays_and_falls_within_0_and_1(steps: int, warm_up: int, decay_share: float) -> None:
    taken = range(0, steps, max(1, steps // 200))
    rates = [rate_at(step, steps, warm_up, decay_share) for step in taken]
    assert all(0 < rate <= 1 for rate in rates)
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


def test_rate_at_known_steps() -> None:
    assert rate_at(0, 1000) == pytest.approx(1 / 50)
    assert rate_at(49, 1000) == 1
    assert rate_at(600, 1000) == 1
    assert rate_at(800, 1000) == pytest.approx(0.5)
    assert rate_at(999, 1000) == pytest.approx(1 / 400)
    assert rate_at(1000, 1000) == 0


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(1, 40))
def test_worker_shares_cover_the_batch_once_and_evenly(batch: int, count: int) -> None:
    shares = [Workers(rank, count).share(batch) for rank in range(count)]
    assert [image for share in shares for image in share] == list(range(batch))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_workers_see_the_images_of_one_batch_between_them(tiny_tokenizer: Tokenizer) -> None:
    """Two workers' shares are the one worker's batch, prefixes that were dropped included."""
    config = TransformerConfig(
        grid_height=4, grid_width=4, vocabulary=16, layers=1, heads=2, dim=16, prefix_vocabulary=PREFIX_VOCABULARY
    )

    def batch(workers: Workers) -> tuple[torch.Tensor, ...]:
        context = RescaledContext(share=0.5, sides=(8,))
        trainee = AutoregressiveTrainee(config, tiny_tokenizer, 5, 16, 0.01, workers, 5.0, context)
        return trainee._batch(7)

    whole = batch(Workers())
    shares = [batch(Workers(rank, 2)) for rank in range(2)]
    for index, expected in enumerate(whole):
        assert torch.equal(torch.cat([share[index] for share in shares]), expected)
    prefixes, tokens, contexts, weights = whole
    assert not torch.equal(tokens, contexts)
    dropped = prefixes[:, 0, 0] == 1
    assert 0 < dropped.sum() < len(dropped)
    # Where objects lie is told by the condition; without it no cell weighs more than another.
    assert (weights[dropped] == 1).all()
    assert set(weights[~dropped].flatten().tolist()) == {1.0, 5.0}
