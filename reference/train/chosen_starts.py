"""Which files a training builds on: what was given, what it made itself, or what a world ships."""

import argparse
from pathlib import Path

from mulo_sd.reference.train.checkpoints import RunError
from mulo_sd.reference.train.place import Place
from mulo_sd.reference.train.recipe import EXTRAS, TARGET, TOKENIZER, transformer_name
from mulo_sd.reference.train.starts import Starts, load_start
from mulo_sd.reference.transformer import TransformerConfig
from mulo_sd.reference.weights import WeightsError, load_transformer

FIRST = transformer_name(1)  # what other transformers start from


def chosen_starts(arguments: argparse.Namespace, models: tuple[str, ...], place: Place, shipped: Path | None) -> Starts:
    """Return the files that models build on.

    Args:
        arguments: The options.
        models: To train.
        place: Of the training.
        shipped: Folder of a world's models.

    Raises:
        RunError: one is not there, and will not be.
        WeightsError: one cannot be used.
    """
    return Starts(
        _tokenizer(arguments, models, place, shipped),
        _target(arguments, models, place, shipped),
        _warm_start(arguments, models, place),
        arguments.heads,
    )


def _tokenizer(arguments: argparse.Namespace, models: tuple[str, ...], place: Place, shipped: Path | None) -> Path:
    """Return the image tokenizer's file: of this training, where there is or will be one, else the world's.

    Raises:
        RunError: there is none.
    """
    own = place.weights(TOKENIZER)
    if TOKENIZER in models or arguments.tokenizer is not None or own.exists():
        return own
    if shipped is None:
        raise RunError(
            f"{models[0]}: expected an image tokenizer, found none at {own}; train the model tokenizer first, or give "
            "--tokenizer"
        )
    return _shipped(shipped / "tokenizer.safetensors")


def _target(arguments: argparse.Namespace, models: tuple[str, ...], place: Place, shipped: Path | None) -> Path:
    """Return the file of the target for which a head or block drafter drafts.

    Raises:
        RunError: there is none.
        WeightsError: it cannot be used.
    """
    own = place.weights(TARGET)
    if not set(models) & set(EXTRAS) or TARGET in models:
        return own
    path: Path = arguments.target or own
    if arguments.target is None and not own.exists():
        if shipped is None:
            raise RunError(f"{models[-1]}: expected a target, found none at {own}; train one first, or give --target")
        path = _shipped(shipped / "target.safetensors")
    load_transformer(path)
    return path


def _shipped(path: Path) -> Path:
    if not path.is_file():
        raise WeightsError(
            f"{path}: expected a file of the world's, found none; train the model first, or install the world with "
            '`pip install "mulo-sd[demo]"`'
        )
    return path


def _warm_start(arguments: argparse.Namespace, models: tuple[str, ...], place: Place) -> dict[str, Path]:
    """Return what transformers start from: what was given, else the first drafter of this training."""
    own, begins = place.weights(FIRST), {}
    transformers = {transformer_name(number) for number in range(1 + arguments.drafters)}
    for name in (name for name in models if name in transformers):
        follows = name != FIRST and (FIRST in models or (arguments.warm_start is None and own.exists()))
        if follows:
            begins[name] = own
        elif arguments.warm_start is not None:
            begins[name] = arguments.warm_start
    return begins


def start_config(models: tuple[str, ...], starts: Starts) -> tuple[Path, TransformerConfig] | None:
    """Return the configuration that transformers take over, and whose it is; None where options say it.

    Raises:
        WeightsError: the file cannot be used.
    """
    first = next((starts.warm_start[name] for name in models if name in starts.warm_start), None)
    if first is None or (FIRST in models and FIRST not in starts.warm_start):
        return None
    return first, load_start(first, starts.heads).config
