"""How many steps minutes are enough for: each model has its part of what those before it left."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from mulo_sd.reference.train import budget
from mulo_sd.reference.train.budget import with_steps_for
from mulo_sd.reference.train.material import material_of_world
from mulo_sd.reference.train.place import Place
from mulo_sd.reference.train.recipe import Recipe, Sizes
from mulo_sd.reference.train.starts import Starts
from mulo_sd.reference.train.training import Machine, Training

MODELS = ("tokenizer", "drafter_1", "target")  # two, three and four parts of the time


@pytest.fixture
def training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Training:
    """One whose steps take half a second each."""
    monkeypatch.setattr(budget, "step_seconds", lambda training, name: 0.5)
    place = Place(tmp_path)
    place.models.mkdir()
    starts = Starts(place.weights("tokenizer"), place.weights("target"))
    return Training(material_of_world("demo"), Recipe(Sizes(drafters=1), MODELS), place, starts)


def spend(training: Training, name: str, seconds: float) -> None:
    training.place.facts(name).write_text(json.dumps({"seconds": seconds}))


def steps_for(training: Training, name: str, minutes: float = 15.0) -> int:
    return with_steps_for(training, name, minutes, lambda line: None).recipe.steps_of(name)


def test_models_share_the_time(training: Training) -> None:
    """Four fifths of 15 minutes, 720 seconds, are trained."""
    assert steps_for(training, "tokenizer") == 320
    spend(training, "tokenizer", 160.0)
    assert steps_for(training, "drafter_1") == 480
    spend(training, "drafter_1", 240.0)
    assert steps_for(training, "target") == 640
    content = json.loads(training.place.steps.read_text())
    assert content == {"minutes": 15.0, "steps": {"tokenizer": 320, "drafter_1": 480, "target": 640}}


def test_a_model_that_took_longer_costs_the_others(training: Training) -> None:
    steps_for(training, "tokenizer")
    spend(training, "tokenizer", 370.0)
    assert steps_for(training, "drafter_1") == 300
    spend(training, "drafter_1", 1000.0)
    assert steps_for(training, "target") == 20, "the fewest"


@pytest.mark.parametrize(("minutes", "told"), [(3.7, True), (3.8, False)])
def test_few_steps_are_told_with_what_helps(training: Training, minutes: float, told: bool) -> None:
    said: list[str] = []
    with_steps_for(training, "tokenizer", minutes, said.append)
    (line,) = said
    assert line.startswith(f"tokenizer: 0.50 s a step, {39 if told else 41} s for it: {78 if told else 81} steps")
    assert ("give more --minutes, or, if the machine was busy, begin again in another --out" in line) == told


def test_fewer_steps_than_the_fewest_are_told_with_their_time(training: Training) -> None:
    said: list[str] = []
    with_steps_for(training, "tokenizer", 0.01, said.append)
    (line,) = said
    told = "tokenizer: 0.50 s a step, 0 s for it: at least 10 s for the fewest, 20 steps, which are few: give more --m"
    assert line.startswith(told)


def test_few_steps_are_told_again_until_they_are_taken(training: Training) -> None:
    said: list[str] = []
    with_steps_for(training, "tokenizer", 0.01, said.append)
    with_steps_for(training, "tokenizer", 0.01, said.append)
    assert said[1].startswith("tokenizer: 20 steps, which are few: give more --minutes, or, if the machine was busy,")
    spend(training, "tokenizer", 10.0)
    with_steps_for(training, "tokenizer", 0.01, said.append)
    assert len(said) == 2


def test_what_was_found_is_kept(training: Training, monkeypatch: pytest.MonkeyPatch) -> None:
    found = steps_for(training, "tokenizer")
    monkeypatch.setattr(budget, "step_seconds", lambda training, name: pytest.fail("it was measured again"))
    assert steps_for(training, "tokenizer") == found


def test_a_step_is_measured_of_all_workers_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The middle one of eight counts: what took the processors meanwhile does not."""
    each = [1.0, 1.0, 90.0, 1.0, 1.0, 60.0, 1.0, 1.0] * 2
    seconds = iter(time for number, step in enumerate(each) for time in (100.0 * number, 100.0 * number + step))
    monkeypatch.setattr(budget, "time", SimpleNamespace(perf_counter=lambda: next(seconds)))
    taken = []

    class Counted:
        def step(self, step: int, steps: int) -> dict[str, float]:
            taken.append(step)
            return {}

    monkeypatch.setattr(budget, "make_trainee", lambda *_: Counted())
    place = Place(tmp_path)
    starts = Starts(place.weights("tokenizer"), place.weights("target"))
    training = Training(
        material_of_world("demo"), Recipe(Sizes(drafters=1), MODELS), place, starts, Machine(workers=2, threads=1)
    )
    assert budget.step_seconds(training, "target") == 0.5
    assert budget.step_seconds(training, "tokenizer") == 1.0, "which workers do not share"
    assert taken == [*range(9), *range(9)]
