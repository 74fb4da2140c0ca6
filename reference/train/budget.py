"""How many steps a time is enough for."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

import torch

from mulo_sd.engines.files.text_files import TextFileError, read_text, strict_json
from mulo_sd.engines.files.whole_files import write_text_whole
from mulo_sd.reference.train.card import read_card
from mulo_sd.reference.train.checkpoints import RunError
from mulo_sd.reference.train.progress import time_text
from mulo_sd.reference.train.recipe import kind_of, time_weight
from mulo_sd.reference.train.trainees import make_trainee
from mulo_sd.reference.train.training import Training
from mulo_sd.reference.train.workers import Workers

MEASURED_STEPS = 8  # after one that is not counted
TRAINED_SHARE = 0.8  # of the time: the rest goes to held-out pictures, samples, comparing and building
LEAST_STEPS = 20
FEW_STEPS = 80  # which teach a model next to nothing
FEW = ", which are few: give more --minutes, or, if the machine was busy, begin again in another --out"
MAX_BYTES = 2**16


@dataclass
class Budget:
    """The steps that were found for a time, by model; a run that goes on takes the same number.

    Attributes:
        path: Of the file that keeps them.
        minutes: For all models together.
        steps: By model.
    """

    path: Path
    minutes: float
    steps: dict[str, int] = field(default_factory=dict)

    def save(self) -> None:
        """Write the file."""
        write_text_whole(self.path, json.dumps({"minutes": self.minutes, "steps": self.steps}, indent=1) + "\n")


def read_budget(path: Path, minutes: float) -> Budget:
    """Return what was found before.

    Args:
        path: The file; there may be none yet.
        minutes: That are asked for.

    Raises:
        RunError: the file is none of ours, or of another time.
    """
    if not path.exists():
        return Budget(path, minutes)
    try:
        content = strict_json(read_text(path, MAX_BYTES, "the steps of a training"))
    except (TextFileError, ValueError):
        content = None
    kept = content.get("steps") if isinstance(content, dict) else None
    if not isinstance(kept, dict) or any(type(steps) is not int or not 0 < steps <= 10**9 for steps in kept.values()):
        raise RunError(f"{path}: expected minutes, and steps by model, got something else; move it away")
    if content.get("minutes") != minutes:
        raise RunError(
            f"--minutes: expected {content.get('minutes')}, with which this --out was begun, got {minutes:g}; "
            "give that again, or another --out"
        )
    return Budget(path, minutes, kept)


def with_steps_for(training: Training, name: str, minutes: float, say: Callable[[str], None]) -> Training:
    """Return a training that gives a model as many steps as its part of the time allows.

    The part is of what the models before it have left, so that one which was slower than its first steps costs all
    others a little.

    Args:
        training: Its recipe says which models share the time.
        name: Of the model, whose turn it is.
        minutes: For all models together.
        say: Shows what comes of it.

    Raises:
        RunError: the file of steps is none of ours, or of another time.
    """
    budget = read_budget(training.place.steps, minutes)
    found = ""
    if name not in budget.steps:
        seconds = step_seconds(training, name)
        share = _share(training, name, budget)
        budget.steps[name] = max(LEAST_STEPS, math.floor(share / seconds))
        budget.save()
        found = f"{seconds:.2f} s a step, {time_text(share)} for it: "
        if budget.steps[name] * seconds > share:
            found += f"at least {time_text(LEAST_STEPS * seconds)} for the fewest, "
    is_few = budget.steps[name] < FEW_STEPS and not training.place.facts(name).exists()
    few = FEW if is_few else ""
    if found or few:
        say(f"{name}: {found}{budget.steps[name]} steps{few}")
    steps = {**training.recipe.steps, kind_of(name): budget.steps[name]}
    return replace(training, recipe=replace(training.recipe, steps=steps))


def _share(training: Training, name: str, budget: Budget) -> float:
    """Return the seconds that a model has."""
    facts = [training.place.facts(model) for model in budget.steps]
    spent = sum(float(read_card(path).get("seconds", 0.0)) for path in facts if path.exists())
    left = max(0.0, budget.minutes * 60 * TRAINED_SHARE - spent)
    waiting = [model for model in training.recipe.models if model not in budget.steps]
    return left * time_weight(name) / sum(time_weight(model) for model in waiting)


def step_seconds(training: Training, name: str) -> float:
    """Return what a step of a model takes here, in seconds, of all workers together."""
    machine = training.machine
    torch.set_num_threads(machine.threads)
    uncompiled = replace(training, machine=replace(machine, compiled=False))
    trainee = make_trainee(uncompiled, name, Workers(device=machine.device))
    trainee.step(0, MEASURED_STEPS + 1)
    each = []
    for step in range(1, MEASURED_STEPS + 1):
        started = time.perf_counter()
        trainee.step(step, MEASURED_STEPS + 1)
        each.append(time.perf_counter() - started)
    seconds = median(each)  # what another process took of one or two of them is no matter
    del trainee
    if machine.device.type == "cuda":
        torch.cuda.empty_cache()  # workers take the same GPU
    return seconds / (machine.workers if training.shares_batches(name) else 1)
