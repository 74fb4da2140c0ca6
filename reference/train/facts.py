"""What the card of a model says of it."""

import dataclasses
from typing import TYPE_CHECKING

from torch import nn

from mulo_sd.reference.checkpoints.vq import load_image_tokenizer
from mulo_sd.reference.train.autoregressive import AutoregressiveTrainee
from mulo_sd.reference.train.head import HeadTrainee
from mulo_sd.reference.train.judges import JUDGED
from mulo_sd.reference.train.recipe import TOKENIZER
from mulo_sd.reference.train.run import Run
from mulo_sd.reference.train.scaler import ScalerTrainee
from mulo_sd.reference.train.scores import tokenizer_scores
from mulo_sd.reference.train.tokenizer import TokenizerTrainee
from mulo_sd.reference.train.trainees import AnyTrainee
from mulo_sd.reference.train.training import Training
from mulo_sd.reference.weights import load_transformer

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def facts_of(training: Training, name: str, trainee: AnyTrainee, run: Run) -> dict[str, object]:
    """Return what was trained, on what, for how long, and how well it does; its weights are there already."""
    return {
        "data": training.material.data,
        "steps": run.step,
        "seconds": round(run.seconds, 1),
        "seed": training.seed,
        "batch": None if name == TOKENIZER else training.recipe.batch_of(name),
        "final": run.history[-1] if run.history else {},
        **_facts_of_its_kind(training, name, trainee),
    }


def _size(module: nn.Module, config: "DataclassInstance") -> dict[str, object]:
    trained = sum(weight.numel() for weight in module.parameters() if weight.requires_grad)
    return {"config": dataclasses.asdict(config), "parameters": trained}


def _facts_of_its_kind(training: Training, name: str, trainee: AnyTrainee) -> dict[str, object]:
    recipe, material = training.recipe, training.material
    if isinstance(trainee, TokenizerTrainee):
        tokenizer = load_image_tokenizer(training.place.weights(name))
        scores = tokenizer_scores(tokenizer, material.examples, recipe.sizes.sides)
        return {**_size(trainee.tokenizer, trainee.tokenizer.config), "scores": scores}
    if isinstance(trainee, ScalerTrainee):
        return {**_size(trainee.scaler, trainee.scaler.config), "loss": recipe.sampler_loss}
    module = trainee.head if isinstance(trainee, HeadTrainee) else trainee.model
    facts = {**_size(module, trainee.config), "matrix_rate": recipe.matrix_rate_of(name)}
    if not isinstance(trainee, AutoregressiveTrainee):
        return facts | {"target": training.starts.target.name}
    warm_start = training.starts.warm_start.get(name)
    facts |= {
        "focus_weight": recipe.focus_weight,
        "rescaled_share": recipe.rescaled_share,
        "windows": recipe.windows,
        "decay": recipe.decay,
        "kept": "last" if recipe.learns_by_heart else "best",
        "warm_start": warm_start.name if warm_start else None,
        "held_out_loss": round(trainee.held_out_loss(JUDGED), 4),
    }
    return facts | _scores(training, name)


def _scores(training: Training, name: str) -> dict[str, object]:
    """Return what a world's evaluator says of a transformer, if there is one: on the grids of the world alone."""
    world = training.material.world
    if (
        world is None
        or not training.score_per_task
        or world.sides[: len(training.recipe.sizes.sides)] != (training.recipe.sizes.sides)
    ):
        return {}
    model, tokenizer = load_transformer(training.place.weights(name)), load_image_tokenizer(training.starts.tokenizer)
    scores = world.score(model, tokenizer, training.score_per_task)
    return {"scored_per_task": training.score_per_task, "scores": scores}
