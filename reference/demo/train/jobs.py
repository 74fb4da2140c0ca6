"""The training jobs: what to train with which data, and what to leave behind."""

import argparse
import dataclasses
import os
from hashlib import sha256
from pathlib import Path

import torch

from mulo_sd.engines.prompts.prefix import PREFIX_LENGTH, PREFIX_VOCABULARY
from mulo_sd.reference.demo.train.autoregressive import AutoregressiveTrainee
from mulo_sd.reference.demo.train.block import BlockTrainee
from mulo_sd.reference.demo.train.card import write_card
from mulo_sd.reference.demo.train.context import RescaledContext
from mulo_sd.reference.demo.train.head import HeadTrainee
from mulo_sd.reference.demo.train.images import ImageFolder, SceneImages
from mulo_sd.reference.demo.train.run import Run, RunError
from mulo_sd.reference.demo.train.scaler import ScalerTrainee
from mulo_sd.reference.demo.train.scores import autoregressive_scores, tokenizer_scores
from mulo_sd.reference.demo.train.tokenizer import TokenizerTrainee
from mulo_sd.reference.demo.train.workers import Workers
from mulo_sd.reference.latent import LatentScalerConfig
from mulo_sd.reference.tokenizer import TokenizerConfig
from mulo_sd.reference.transformer import TransformerConfig
from mulo_sd.reference.weights import load_tokenizer, load_transformer, save_weights

DATA = "procedural scenes of reference.demo.scenes, drawn anew for every step (training split)"
SCALERS = ("up_sampler", "down_sampler")
EXTRAS = ("head", "block")  # what drafts for a target that is trained already
STEPS = {
    "up_sampler": 600,
    "down_sampler": 400,
    "tokenizer": 4200,
    "drafter_2": 500,
    "drafter_1": 500,
    "target": 1700,
    "head": 300,
    "block": 400,
}
BATCH = {"up_sampler": 8, "down_sampler": 8, "drafter_2": 64, "drafter_1": 32, "target": 16, "head": 4, "block": 4}
GRID = {"drafter_2": 8, "drafter_1": 16, "target": 32}
MATRIX_RATE = {"drafter_2": 0.01, "drafter_1": 0.01, "target": 0.005, "head": 0.01, "block": 0.005}


def job(arguments: argparse.Namespace) -> dict[str, str | int | float | None]:
    """Return what a run trains: a checkpoint made with anything else is not resumed."""
    described: dict[str, str | int | float | None] = {"model": arguments.model, "seed": arguments.seed}
    if arguments.model in SCALERS:
        described |= {
            "ratio": arguments.ratio,
            "loss": arguments.loss,
            "rows_above": arguments.rows_above,
            "batch": arguments.batch or BATCH[arguments.model],
            "images": str(arguments.images) if arguments.images else None,
            "fine_sides": str(arguments.fine_sides),
            "tokenizer": sha256(arguments.tokenizer.read_bytes()).hexdigest(),
        }
    elif arguments.model in EXTRAS:
        described |= {
            "batch": arguments.batch or BATCH[arguments.model],
            "rate": arguments.rate or MATRIX_RATE[arguments.model],
            "target": sha256(arguments.target.read_bytes()).hexdigest(),
            "tokenizer": sha256(arguments.tokenizer.read_bytes()).hexdigest(),
        }
    elif arguments.model != "tokenizer":
        warm_start = arguments.warm_start
        described |= {
            "batch": arguments.batch or BATCH[arguments.model],
            "rate": arguments.rate or MATRIX_RATE[arguments.model],
            "object_weight": arguments.object_weight,
            "rescaled_share": arguments.rescaled_share,
            "tokenizer": sha256(arguments.tokenizer.read_bytes()).hexdigest(),
            "warm_start": sha256(warm_start.read_bytes()).hexdigest() if warm_start else None,
        }
    return described


def _name(arguments: argparse.Namespace) -> str:
    """Return what a run's files are called: a scaler is one of a ratio."""
    name: str = arguments.model
    return f"{name}_{arguments.ratio}" if name in SCALERS else name


def make_run(arguments: argparse.Namespace, workers: Workers = Workers()) -> Run:  # noqa: B008  (it is frozen)
    """Return the run that the arguments describe; it resumes in its folder."""
    steps = arguments.steps or STEPS[arguments.model]
    return Run(arguments.out / f"{_name(arguments)}.run", steps, leader=workers.rank == 0, job=job(arguments))


def _weights(arguments: argparse.Namespace) -> Path:
    path: Path = arguments.out / f"{_name(arguments)}.safetensors"
    return path


def check_place(arguments: argparse.Namespace) -> None:
    """Check that a run which begins writes over nobody's weights or card: tokenizer.json is a common name.

    Raises:
        RunError: something is there already.
    """
    for path in (_weights(arguments), _weights(arguments).with_suffix(".json")):
        if os.path.lexists(path):
            raise RunError(
                f"{path}: expected none before a run's first step, found one; move it away, or give another --out"
            )


def _card(arguments: argparse.Namespace, run: Run, facts: dict[str, object]) -> None:
    training = {"data": DATA, "steps": run.steps, "seconds": round(run.seconds, 1), "seed": arguments.seed}
    write_card(arguments.out / f"{_name(arguments)}.json", _weights(arguments), training | facts)
    print(f"wrote {_weights(arguments)}")


def train_tokenizer(arguments: argparse.Namespace) -> None:
    """Train the tokenizer, score it and write weights and card."""
    trainee = TokenizerTrainee(TokenizerConfig(), arguments.seed)
    run = make_run(arguments)
    run.train(trainee)
    save_weights(trainee.tokenizer, trainee.tokenizer.config, _weights(arguments))
    scores = tokenizer_scores(load_tokenizer(_weights(arguments)))
    _card(arguments, run, {"config": dataclasses.asdict(trainee.tokenizer.config), "scores": scores})


def train_transformer(arguments: argparse.Namespace, workers: Workers) -> None:
    """Train a drafter or the target as one of several workers; the leader scores it and writes weights and card."""
    tokenizer = load_tokenizer(arguments.tokenizer)
    side, batch = GRID[arguments.model], arguments.batch or BATCH[arguments.model]
    config = TransformerConfig(
        grid_height=side,
        grid_width=side,
        vocabulary=tokenizer.config.codes,
        prefix_length=PREFIX_LENGTH,
        prefix_vocabulary=PREFIX_VOCABULARY,
    )
    context = RescaledContext(arguments.rescaled_share, tuple(other for other in GRID.values() if other != side))
    rate = arguments.rate or MATRIX_RATE[arguments.model]
    trainee = AutoregressiveTrainee(
        config, tokenizer, arguments.seed, batch, rate, workers, arguments.object_weight, context, arguments.compile
    )
    if arguments.warm_start:
        trainee.warm_start(load_transformer(arguments.warm_start))
    run = make_run(arguments, workers)
    run.train(trainee)
    if workers.rank == 0:
        save_weights(trainee.model, config, _weights(arguments))
        torch.set_num_threads(arguments.threads * workers.count)
        scores = autoregressive_scores(load_transformer(_weights(arguments)), tokenizer, arguments.score_per_task)
        facts: dict[str, object] = {
            "config": dataclasses.asdict(config),
            "batch": batch,
            "views": batch * run.steps,
            "matrix_rate": rate,
            "scored_prompts": 6 * arguments.score_per_task,
            "object_weight": arguments.object_weight,
            "rescaled_share": arguments.rescaled_share,
            "warm_start": arguments.warm_start.name if arguments.warm_start else None,
            "scores": scores,
        }
        _card(arguments, run, facts)


def train_extra(arguments: argparse.Namespace) -> None:
    """Train a head or a block drafter for a target, and write weights and card."""
    tokenizer, target = load_tokenizer(arguments.tokenizer), load_transformer(arguments.target)
    batch = arguments.batch or BATCH[arguments.model]
    rate = arguments.rate or MATRIX_RATE[arguments.model]
    make = HeadTrainee if arguments.model == "head" else BlockTrainee
    trainee = make(target, tokenizer, arguments.seed, batch, rate)
    run = make_run(arguments)
    run.train(trainee)
    trainee.save(_weights(arguments))
    facts: dict[str, object] = {
        "config": dataclasses.asdict(trainee.config),
        "target": arguments.target.name,
        "batch": batch,
        "views": batch * run.steps,
        "matrix_rate": rate,
        "final": run.history[-1] if run.history else {},
    }
    _card(arguments, run, facts)


def train_scaler(arguments: argparse.Namespace) -> None:
    """Train a latent up- or down-sampler and write weights and card."""
    tokenizer = load_tokenizer(arguments.tokenizer)
    config = LatentScalerConfig(
        arguments.ratio, tokenizer.config.codes, tokenizer.config.code_dim, rows_above=arguments.rows_above
    )
    images = ImageFolder(arguments.images) if arguments.images else SceneImages()
    batch = arguments.batch or BATCH[arguments.model]
    trainee = ScalerTrainee(
        arguments.model == "up_sampler",
        config,
        tokenizer,
        images,
        arguments.fine_sides,
        arguments.loss,
        batch,
        arguments.seed,
    )
    run = make_run(arguments)
    run.train(trainee)
    save_weights(trainee.scaler, config, _weights(arguments))
    facts: dict[str, object] = {
        "config": dataclasses.asdict(config),
        "loss": arguments.loss,
        "batch": batch,
        "fine_sides": list(arguments.fine_sides),
        "final": run.history[-1] if run.history else {},
    }
    _card(arguments, run, facts)
