"""Which options of the training command go together, and what their numbers may be."""

import argparse
import os
from collections.abc import Iterable

from mulo_sd.reference.numbers import MAX_THREADS, real_number, whole_number
from mulo_sd.reference.train.folder.options import (
    FILE_LIMITS,
    MAX_READERS,
    PIXEL_LIMITS,
    PREFIX_LENGTHS,
    SIDES,
    SIZES,
    VOCABULARIES,
    FolderError,
    augmentations,
    ground_colour,
)
from mulo_sd.reference.train.recipe import (
    BLOCK,
    EXTRAS,
    HEAD,
    MAX_DRAFTERS,
    SAMPLERS,
    TOKENIZER,
    kind_of,
    known_models,
)

# The range of every number on the command line.
WHOLE = {
    "pixels": SIZES,
    "drafters": (1, MAX_DRAFTERS),
    "codes": (2, 2**16),
    "width": (8, 4096),
    "layers": (1, 256),
    "heads": (1, 256),
    "dim": (16, 2**14),
    "steps": (1, 10**9),
    "batch": (1, 2**20),
    "patience": (0, 10**6),
    "seed": (0, 2**20 - 1),
    "workers": (1, 256),
    "threads": (1, MAX_THREADS),
    "score_per_task": (0, 10**5),
    "vocabulary": VOCABULARIES,
    "prefix_length": PREFIX_LENGTHS,
    "readers": (0, MAX_READERS),
    "max_pixels": PIXEL_LIMITS,
    "max_file_bytes": FILE_LIMITS,
    "smallest_side": SIDES,
}
REAL = {
    "minutes": (0.01, 1e7),
    "rate": (1e-9, 1e3),
    "rescaled_share": (0, 1),
    "windows": (0, 1),
    "decay": (0, 1),
    "focus_weight": (1, 1e6),
    "held_out_share": (0.001, 0.5),
}
FACTORS = (4, 8)
OF_A_FOLDER = (
    *("captions", "name", "augment", "ground"),
    *("held_out_share", "vocabulary", "caption_tokenizer", "prefix_length"),
    *("readers", "max_pixels", "max_file_bytes", "smallest_side"),
)
OF_A_WORLD = ("focus_weight", "score_per_task")


def check(arguments: argparse.Namespace) -> None:
    """Hold options against their ranges and each other.

    Raises:
        ValueError: one is out of its range, or they contradict each other.
    """
    _check_ranges(arguments)
    _check_models(arguments)
    _check_source(arguments)
    _check_together(arguments)
    if os.path.lexists(arguments.out) and not arguments.out.is_dir():
        raise ValueError(f"--out: expected a folder, or a new one, got the file {arguments.out}")


def option(name: str) -> str:
    """Return an option as the user writes it."""
    return f"--{name.replace('_', '-')}"


def _check_ranges(arguments: argparse.Namespace) -> None:
    for name, bounds in WHOLE.items():
        if getattr(arguments, name) is not None:
            whole_number(option(name), getattr(arguments, name), *bounds)
    for name, limits in REAL.items():
        if getattr(arguments, name) is not None:
            real_number(option(name), getattr(arguments, name), *limits)
    if arguments.factor not in (None, *FACTORS):
        raise ValueError(f"--factor: expected {' or '.join(map(str, FACTORS))}, got {arguments.factor}")


def _check_models(arguments: argparse.Namespace) -> None:
    known = known_models(arguments.drafters)
    for name in arguments.model:
        if name not in known:
            raise ValueError(f"model: expected some of {', '.join(known)}, got {name!r:.40}")


def _check_source(arguments: argparse.Namespace) -> None:
    """Check that there is one source, and that its options are its own."""
    if (arguments.images is None) == (arguments.world is None):
        got = "none of them" if arguments.images is None else "both"
        raise ValueError(f"--images: expected a folder of pictures, or --world, got {got}")
    if arguments.images is None:
        _check_none(arguments, OF_A_FOLDER, "--world")
        return
    _check_none(arguments, OF_A_WORLD, "--images")
    if not arguments.images.is_dir():
        got = "a file" if os.path.lexists(arguments.images) else "nothing"
        raise ValueError(f"--images: expected a folder of pictures, found {got} at {arguments.images}")
    if os.path.realpath(arguments.images) == os.path.realpath(arguments.out):
        raise ValueError(f"--out: expected another folder than that of the pictures, got {arguments.out}")
    for name in ("captions", "caption_tokenizer"):
        file = getattr(arguments, name)
        if file is not None and not file.is_file():
            found = "a folder" if file.is_dir() else "none"
            raise ValueError(f"{option(name)}: expected a file, found {found} at {file}")
    if arguments.caption_tokenizer is not None:
        _check_none(arguments, ("vocabulary",), "--caption-tokenizer")
    try:
        augmentations(arguments.augment or "")
        ground_colour(arguments.ground or "white")
    except FolderError as error:
        raise ValueError(str(error)) from None


def _check_together(arguments: argparse.Namespace) -> None:
    """Check what goes with the models that are named, and with each other."""
    kinds = {kind_of(name) for name in arguments.model}
    if len(arguments.model) != 1:
        given = f"{len(arguments.model)} of them" if arguments.model else "none"
        for name in ("steps", "batch", "rate"):
            if getattr(arguments, name) is not None:
                raise ValueError(f"{option(name)}: expected one model by name beside it, got {given}")
    if kinds & {TOKENIZER}:
        _check_none(arguments, ("batch", "rate", "tokenizer"), "the model tokenizer")
    if kinds & {*SAMPLERS}:
        _check_none(arguments, ("rate",), "a latent sampler")
    if arguments.model:
        _check_none(arguments, ("latent_samplers",), "models by name")
    if not kinds & {*EXTRAS}:
        _check_none(arguments, ("target",), f"models other than {HEAD} and {BLOCK}")
    if kinds and kinds <= {TOKENIZER, *SAMPLERS, *EXTRAS}:
        own = ("warm_start", "rescaled_share", "windows", "decay", "focus_weight", "keep", "patience")
        _check_none(arguments, own, "models that are no transformers")
    if not (arguments.latent_samplers or kinds & {*SAMPLERS}):
        _check_none(arguments, ("sampler_loss", "rows_above"), "models without latent samplers")
    if arguments.minutes is not None:
        _check_none(arguments, ("steps",), "--minutes")
    if arguments.tokenizer is not None:
        _check_none(arguments, ("codes", "width"), "--tokenizer, whose they are")


def _check_none(arguments: argparse.Namespace, names: Iterable[str], beside: str) -> None:
    for name in names:
        if getattr(arguments, name) is not None and getattr(arguments, name) is not False:
            raise ValueError(f"{option(name)}: expected none beside {beside}, got one")
