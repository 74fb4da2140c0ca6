"""From options to a training: what can be known before a picture is read, and then the rest."""

import argparse
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from mulo_sd.reference.checkpoints.vq import VQTokenizer, load_image_tokenizer
from mulo_sd.reference.tokenizer import ImageTokenizer, Tokenizer
from mulo_sd.reference.train.checkpoints import RunError, check_checkpoint, job_of
from mulo_sd.reference.train.chosen_starts import chosen_starts, start_config
from mulo_sd.reference.train.devices import device_named
from mulo_sd.reference.train.folder.options import FolderOptions, augmentations
from mulo_sd.reference.train.material import Material, material_of_folder, material_of_world
from mulo_sd.reference.train.place import Place
from mulo_sd.reference.train.recipe import (
    BY_HEART,
    MAX_DRAFTERS,
    SAMPLERS,
    TOKENIZER,
    Recipe,
    Sizes,
    kind_of,
    known_models,
    whole_models,
)
from mulo_sd.reference.train.starts import Starts, keep_tokenizer, load_given_tokenizer
from mulo_sd.reference.train.training import Machine, Training, chosen_job
from mulo_sd.reference.train.worlds import World
from mulo_sd.reference.transformer import TransformerConfig

COMPILERS = (*([os.environ["CXX"]] if os.environ.get("CXX") else []), "g++", "clang++", "c++")  # torch's own order
LIMITS = ("readers", "max_pixels", "max_file_bytes", "smallest_side")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")


@dataclass(frozen=True)
class Choice:
    """What options say of models; nothing was written yet.

    Attributes:
        recipe: What is made.
        starts: What they build on.
        kept: The image tokenizer that was given, to be kept among the models.
        machine: Where to compute.
        world: In place of a folder.
        name: Of the bundle.
    """

    recipe: Recipe
    starts: Starts
    kept: tuple[Tokenizer | VQTokenizer, Path] | None
    machine: Machine
    world: Material | None
    name: str


def chosen(arguments: argparse.Namespace, place: Place) -> Choice:
    """Return what options say, after a look at every file that they name, before anything is made.

    Raises:
        ValueError: they do not fit each other, or a file cannot be used (WeightsError, RunError among them).
        ModuleNotFoundError: the world is of a distribution that is not installed.
    """
    models = _models(arguments)
    world = material_of_world(arguments.world) if arguments.world is not None else None
    name = arguments.world or _bundle_name(arguments)
    shipped = world.world.weights if world is not None and world.world is not None else None
    given = load_given_tokenizer(arguments.tokenizer) if arguments.tokenizer is not None else None
    starts = chosen_starts(arguments, models, place, shipped)
    tokenizer: ImageTokenizer | None = given
    if given is None and TOKENIZER not in models:
        tokenizer = load_image_tokenizer(starts.tokenizer)
    sizes = _sizes(arguments, tokenizer, start_config(models, starts))
    machine, recipe = _machine(arguments), _recipe(arguments, models, sizes, world)
    for model in models:
        if model in sizes.grids and recipe.batch_of(model) % machine.workers:
            raise RunError(
                f"--workers: expected a divisor of {model}'s {recipe.batch_of(model)} images a step, got "
                f"{machine.workers}"
            )
    kept = (given, arguments.tokenizer) if given is not None else None
    return Choice(recipe, starts, kept, machine, world, name)


def begun(choice: Choice, arguments: argparse.Namespace, place: Place, say: Callable[[str], None]) -> Training:
    """Return the training, with its pictures read, in a place that is its own.

    Raises:
        ValueError: something does not fit (WeightsError, RunError, FolderError among them).
        OSError: something cannot be written.
    """
    material = choice.world or _folder(arguments, choice, place, say)
    recipe = replace(choice.recipe, pictures=material.pictures)
    if recipe.keep is None and recipe.learns_by_heart and recipe.has_transformers:
        say(
            f"fewer than {BY_HEART} pictures: transformers learn them by heart and keep their last weights (--keep "
            "best: those that are best on held-out pictures)"
        )
    for name in recipe.models:
        if not place.run(name).is_dir():
            place.check_new(name)
    if choice.kept is not None:
        keep_tokenizer(*choice.kept, place.weights(TOKENIZER))
    score_per_task = 40 if arguments.score_per_task is None else arguments.score_per_task
    return Training(material, recipe, place, choice.starts, choice.machine, arguments.seed, score_per_task)


def _models(arguments: argparse.Namespace) -> tuple[str, ...]:
    named = arguments.model or [
        name
        for name in whole_models(arguments.drafters, arguments.latent_samplers)
        if not (name == TOKENIZER and arguments.tokenizer)
    ]
    return tuple(name for name in known_models(arguments.drafters) if name in named)


def _bundle_name(arguments: argparse.Namespace) -> str:
    """Return what the bundle is called.

    Raises:
        RunError: what was given is no name.
    """
    if arguments.name is not None:
        if not NAME.fullmatch(arguments.name):
            raise RunError(f"--name: expected up to 60 letters, digits, '.', '_' and '-', got {arguments.name!r:.80}")
        return str(arguments.name)
    plain = "".join(
        letter if letter.isascii() and letter.isalnum() else "-" for letter in arguments.images.resolve().name
    )
    return plain[:60].strip("-") or "own"


def _sizes(
    arguments: argparse.Namespace, tokenizer: ImageTokenizer | None, start: tuple[Path, TransformerConfig] | None
) -> Sizes:
    """Return the sizes: those of what is there already, else what options say.

    Raises:
        ValueError: they contradict each other, or do not fit.
    """
    default = Sizes()
    given = {name: getattr(arguments, name) for name in ("factor", "codes", "width", "layers", "heads", "dim")}
    there: dict[str, int] = {}
    whose = ""
    if tokenizer is not None:
        there = {"factor": tokenizer.config.factor, "codes": tokenizer.config.codes}
        whose = "the image tokenizer has"
    values = _merged(given, there, whose)
    if start is not None:
        path, config = start
        codes = values["codes"] or default.codes
        if config.vocabulary != codes:
            raise RunError(
                f"{path}: expected a model of the image tokenizer's {codes} codes, got one of {config.vocabulary}; "
                "give --tokenizer, the one that the model was made for"
            )
        values = _merged(values, {name: getattr(config, name) for name in ("layers", "heads", "dim")}, f"{path} has")
    chosen_sizes = {name: getattr(default, name) if value is None else value for name, value in values.items()}
    return Sizes(pixels=arguments.pixels, drafters=arguments.drafters, **chosen_sizes)


def _merged(given: dict[str, int | None], there: dict[str, int], whose: str) -> dict[str, int | None]:
    for name, value in there.items():
        if given[name] not in (None, value):
            raise RunError(f"--{name}: expected {value}, which {whose}, or nothing, got {given[name]}")
    return given | there


def _machine(arguments: argparse.Namespace) -> Machine:
    """Return where to compute.

    Raises:
        ValueError: there is no such device, there are not so many, or nothing compiles for it.
    """
    device = device_named(arguments.device)
    if device.type == "cuda" and arguments.workers > torch.cuda.device_count():
        raise RunError(
            f"--workers: expected at most the {torch.cuda.device_count()} GPUs of this machine, got {arguments.workers}"
        )
    if arguments.compile and not any(map(shutil.which, COMPILERS)):
        raise RunError(f"--compile: expected a C++ compiler ({', '.join(COMPILERS)}), found none; leave it out")
    return Machine(device, arguments.workers, arguments.threads, arguments.compile)


def _folder(arguments: argparse.Namespace, choice: Choice, place: Place, say: Callable[[str], None]) -> Material:
    own = ("captions", "ground", "held_out_share", "vocabulary", "caption_tokenizer", "prefix_length")
    optional = {name: getattr(arguments, name) for name in (*own, *LIMITS)}
    options = FolderOptions(
        arguments.images,
        size=arguments.pixels,
        augment=augmentations(arguments.augment or ""),
        seed=arguments.seed,
        need_captions=_need_captions(choice, place),
        **{name: value for name, value in optional.items() if value is not None},
    )
    for name in choice.recipe.models:  # before pictures that were read are given up for others
        job = {**chosen_job(choice.recipe, arguments.seed, name), **options.chosen}
        check_checkpoint(place.checkpoint(name), job)
    return material_of_folder(options, arguments.out, choice.name, say, _pictures_of(place))


def _pictures_of(place: Place) -> str | None:
    """Return the hash of the pictures that a training was begun with; None where there is no checkpoint."""
    jobs = (job_of(place.checkpoint(name)) for name in known_models(MAX_DRAFTERS))
    return next((str(job["pictures"]) for job in jobs if job is not None and job.get("pictures")), None)


def _need_captions(choice: Choice, place: Place) -> bool:
    """Whether pictures without captions are left out: not where no model reads any, here or before."""
    captioned = any(kind_of(name) not in (TOKENIZER, *SAMPLERS) for name in choice.recipe.models)
    return captioned or any(place.run(name).is_dir() for name in choice.recipe.sizes.grids)


def _recipe(arguments: argparse.Namespace, models: tuple[str, ...], sizes: Sizes, material: Material | None) -> Recipe:
    world: World | None = material.world if material is not None else None
    steps, batch, rate = (dict(world.steps), dict(world.batch), dict(world.matrix_rate)) if world else ({}, {}, {})
    kind = kind_of(models[0])
    if arguments.steps is not None:
        steps[kind] = arguments.steps
    if arguments.batch is not None:
        batch[kind] = arguments.batch
    if arguments.rate is not None:
        rate[kind] = arguments.rate
    optional = {
        "sampler_loss": arguments.sampler_loss,
        "rows_above": arguments.rows_above,
        "rescaled_share": arguments.rescaled_share,
        "windows": arguments.windows,
        "decay": arguments.decay,
        "focus_weight": arguments.focus_weight,
        "keep": arguments.keep,
        "patience": arguments.patience,
    }
    if world is not None:
        defaults = {
            "rescaled_share": world.rescaled_share,
            "windows": world.windows,
            "focus_weight": world.focus_weight,
            "patience": 0,
        }
        optional = {**optional, **{name: value for name, value in defaults.items() if optional[name] is None}}
    return Recipe(
        sizes,
        models,
        steps,
        batch,
        rate,
        **{name: value for name, value in optional.items() if value is not None},
    )
