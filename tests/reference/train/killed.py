"""Runs that are killed, and what they are compared by."""

from pathlib import Path
from typing import Any

import torch

from mulo_sd.reference.train.run import Run, Trainee

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


def busy_run(folder: Path, steps: int = STEPS, save_seconds: float = -1.0, **options: Any) -> Run:
    """Return a run that saves as often as it can."""
    return Run(folder, steps, save_seconds=save_seconds, **options)


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
