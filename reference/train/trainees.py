"""The trainee of each model of a training, as it begins."""

from pathlib import Path

from mulo_sd.reference.checkpoints.vq import load_image_tokenizer
from mulo_sd.reference.latent import LatentScalerConfig
from mulo_sd.reference.tokenizer import ImageTokenizer, TokenizerConfig
from mulo_sd.reference.train.autoregressive import AutoregressiveTrainee
from mulo_sd.reference.train.block import BlockTrainee
from mulo_sd.reference.train.checkpoints import RunError
from mulo_sd.reference.train.context import RescaledContext
from mulo_sd.reference.train.head import HeadTrainee
from mulo_sd.reference.train.recipe import EXTRAS, HEAD, SAMPLERS, TOKENIZER, UP_SAMPLER, kind_of, ratio_of
from mulo_sd.reference.train.scaler import ScalerTrainee
from mulo_sd.reference.train.starts import load_start
from mulo_sd.reference.train.tokenizer import TokenizerTrainee
from mulo_sd.reference.train.training import Training
from mulo_sd.reference.train.warm_start import config_like
from mulo_sd.reference.train.windows import Windows
from mulo_sd.reference.train.workers import Workers
from mulo_sd.reference.transformer import Transformer, TransformerConfig
from mulo_sd.reference.weights import load_transformer

AnyTrainee = TokenizerTrainee | AutoregressiveTrainee | HeadTrainee | BlockTrainee | ScalerTrainee


def make_trainee(training: Training, name: str, workers: Workers) -> AnyTrainee:
    """Return a model that has not begun.

    Args:
        training: What it is part of; its tokenizer is there already.
        name: Of the model.
        workers: This process among those that share its batches.

    Raises:
        WeightsError: a file that it builds on cannot be used.
        ValueError: what it builds on does not fit.
    """
    sizes, kind = training.recipe.sizes, kind_of(name)
    if kind == TOKENIZER:
        config = TokenizerConfig(codes=sizes.codes, width=sizes.width, factor=sizes.factor)
        return TokenizerTrainee(config, training.material.examples, sizes.sides, training.seed, workers.device)
    tokenizer = load_image_tokenizer(training.starts.tokenizer)
    if tokenizer.config.factor != sizes.factor:
        raise RunError(
            f"{training.starts.tokenizer}: expected a tokenizer of {sizes.factor} pixels a token's side, got one of "
            f"{tokenizer.config.factor}"
        )
    if kind in SAMPLERS:
        return _scaler(training, name, tokenizer, workers)
    if kind in EXTRAS:
        return _extra(training, name, tokenizer, workers)
    return _transformer(training, name, tokenizer, workers)


def _scaler(training: Training, name: str, tokenizer: ImageTokenizer, workers: Workers) -> ScalerTrainee:
    recipe, ratio = training.recipe, ratio_of(name)
    sides, config = recipe.sizes.sides, tokenizer.config
    return ScalerTrainee(
        kind_of(name) == UP_SAMPLER,
        LatentScalerConfig(ratio, config.codes, config.code_dim, rows_above=recipe.rows_above),
        tokenizer,
        training.material.examples,
        tuple(side for side in reversed(sides) if side // ratio in sides),
        recipe.sampler_loss,
        recipe.batch_of(name),
        training.seed,
        workers.device,
    )


def _extra(training: Training, name: str, tokenizer: ImageTokenizer, workers: Workers) -> HeadTrainee | BlockTrainee:
    target = load_transformer(training.starts.target)
    check_target(training, target, training.starts.target)
    make = HeadTrainee if name == HEAD else BlockTrainee
    batch, rate = training.recipe.batch_of(name), training.recipe.matrix_rate_of(name)
    return make(target, tokenizer, training.material.examples, training.seed, batch, rate, workers.device)


def check_target(training: Training, target: Transformer, path: Path) -> None:
    """Check that a target draws on the grid of a training and takes its conditions.

    Raises:
        RunError: it does not.
    """
    examples, config = training.material.examples, target.config
    expected = (training.recipe.sizes.sides[0],) * 2 + (examples.prefix_length, examples.prefix_vocabulary)
    got = (config.grid_height, config.grid_width, config.prefix_length, config.prefix_vocabulary)
    if got != expected:
        shown, found = (
            f"{rows} x {columns} tokens, with prefixes of {length} out of {ids} ids"
            for rows, columns, length, ids in (expected, got)
        )
        raise RunError(f"{path}: expected a target of {shown}, got one of {found}; give that of these pictures")


def _transformer(training: Training, name: str, tokenizer: ImageTokenizer, workers: Workers) -> AutoregressiveTrainee:
    recipe, examples, starts = training.recipe, training.material.examples, training.starts
    sizes, path = recipe.sizes, starts.warm_start.get(name)
    side = sizes.grids[name]
    other = load_start(path, starts.heads) if path else None
    if other is None:
        config = TransformerConfig(
            grid_height=side,
            grid_width=side,
            vocabulary=tokenizer.config.codes,
            layers=sizes.layers,
            heads=sizes.heads,
            dim=sizes.dim,
            prefix_length=examples.prefix_length,
            prefix_vocabulary=examples.prefix_vocabulary,
        )
    else:
        config = config_like(other.config, side, examples.prefix_length, examples.prefix_vocabulary)
    trainee = AutoregressiveTrainee(
        config,
        tokenizer,
        examples,
        training.seed,
        recipe.batch_of(name),
        recipe.matrix_rate_of(name),
        RescaledContext(recipe.rescaled_share, tuple(item for item in sizes.sides if item != side)),
        recipe.focus_weight,
        Windows(recipe.windows),
        workers,
        training.machine.compiled,
        recipe.decay,
        training.shown,
    )
    if other is not None:
        trainee.warm_start(other)
    return trainee
