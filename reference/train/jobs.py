"""Train one model of a training, and leave weights and a card."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from mulo_sd.engines.files.folder_beside import folder_beside
from mulo_sd.engines.files.whole_files import PARTIAL
from mulo_sd.reference.train.autoregressive import AutoregressiveTrainee
from mulo_sd.reference.train.card import read_card, write_card
from mulo_sd.reference.train.checkpoints import RunError
from mulo_sd.reference.train.facts import facts_of
from mulo_sd.reference.train.judges import HeldOutJudge
from mulo_sd.reference.train.run_workers import run_workers
from mulo_sd.reference.train.scaler import ScalerTrainee
from mulo_sd.reference.train.starts import file_hash
from mulo_sd.reference.train.tokenizer import TokenizerTrainee
from mulo_sd.reference.train.trainees import AnyTrainee, make_trainee
from mulo_sd.reference.train.training import Training
from mulo_sd.reference.train.workers import Workers
from mulo_sd.reference.weights import save_weights


def train_model(training: Training, name: str, say: Callable[[str], None]) -> None:
    """Train one model, or go on where it stopped, and leave weights and card; one that is finished stays as it is.

    Args:
        training: What it is part of.
        name: Of the model.
        say: Shows a line.

    Raises:
        RunError: its folder holds something else.
        WeightsError: a file that it builds on cannot be used.
        Stopped: the user asked for it.
    """
    place, machine = training.place, training.machine
    state = training.run(name, Workers()).saved()
    if state is None:
        place.check_new(name)
    elif state.get("finished") and _is_whole(training, name):
        say(f"{name}: trained already, {state['step']} steps; {place.weights(name)} stays as it is")
        return
    elif not state.get("finished"):
        say(f"{name}: goes on from step {state['step']}")
    shares = training.shares_batches(name)
    run_workers(
        machine.workers if shares else 1,
        machine.threads if shares else machine.threads * machine.workers,
        machine.device,
        partial(_train, training, name),
    )
    say(f"wrote {place.weights(name)}")


def _is_whole(training: Training, name: str) -> bool:
    """Whether a finished model's weights and card are there.

    Raises:
        RunError: the card is of other weights.
    """
    weights, facts = training.place.weights(name), training.place.facts(name)
    if not (weights.exists() and os.path.lexists(facts)):
        return False
    if read_card(facts).get("sha256") != file_hash(weights):
        raise RunError(f"{weights}: expected the weights that its card {facts.name} tells of, found others; move both")
    return True


def _train(training: Training, name: str, workers: Workers) -> None:
    trainee, run = make_trainee(training, name, workers), training.run(name, workers)
    judge = HeldOutJudge(trainee) if isinstance(trainee, AutoregressiveTrainee) else None
    run.train(trainee, judge=judge)
    if workers.rank:
        return
    torch.set_num_threads(training.machine.threads * workers.count)
    _save(trainee, training.place.weights(name))
    write_card(training.place.facts(name), training.place.weights(name), facts_of(training, name, trainee, run))


def _save(trainee: AnyTrainee, path: Path) -> None:
    """Write a model's weights; what a run that was killed then wrote of them already is the same.

    Raises:
        RunError: other weights are there.
    """
    with folder_beside(path.parent, PARTIAL) as folder:
        made = folder / path.name
        if isinstance(trainee, TokenizerTrainee):
            save_weights(trainee.tokenizer, trainee.tokenizer.config, made)
        elif isinstance(trainee, ScalerTrainee):
            save_weights(trainee.scaler, trainee.scaler.config, made)
        elif isinstance(trainee, AutoregressiveTrainee):
            save_weights(trainee.model, trainee.model.config, made)
        else:
            trainee.save(made)
        if path.exists() and file_hash(path) != file_hash(made):
            raise RunError(f"{path}: expected none, or the weights of this run, found others; move them away")
        made.replace(path)
