"""Write the folder that a training on captioned pictures leaves."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from mulo_sd.engines.files.folder_beside import folder_beside
from mulo_sd.engines.files.whole_files import write_whole
from mulo_sd.engines.prompts.caption_ids import CaptionIds
from mulo_sd.reference.checkpoints.vq import VQTokenizer
from mulo_sd.reference.head import own_tensors
from mulo_sd.reference.models import Models
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.tokenizer import Tokenizer
from mulo_sd.reference.trained.description import (
    CAPTIONS_FILE,
    PICTURE_FILE,
    WEIGHTS_FILE,
    caption_line,
    make_description,
    read_description,
    write_description,
)
from mulo_sd.reference.trained.folder import Trained, load_described, names_of
from mulo_sd.reference.weights import WeightsError, save_tensors, save_weights, write_safetensors


def describe_trained(
    folder: Path,
    name: str,
    captions: CaptionIds,
    examples: Sequence[str],
    tokens: Sequence[Tensor],
    settings: Settings,
    presets: Mapping[str, Settings] | None = None,
) -> Trained:
    """Make a folder of weights that a training wrote one whole: captions, picture and, at the end, models.json.

    Args:
        folder: Holds the weights, under the names above; other files are let be.
        name: Of letters, digits, ".", "_" and "-".
        captions: As in training.
        examples: Captions to show what the models do, 1 to 16.
        tokens: Of the first one's picture, on the grid of each model, the target's first, Int[h, w].
        settings: That a decode starts from.
        presets: Further ones by name.

    Returns:
        What is read from the folder.

    Raises:
        WeightsError: the files do not belong together, or cannot be written; then there is no models.json of them.
    """
    numbered = ["target", *(f"drafter_{number}" for number in range(1, len(tokens)))]
    picture = {key: value.to(torch.int32).contiguous() for key, value in zip(numbered, tokens, strict=True)}
    try:
        write_whole(folder / CAPTIONS_FILE, captions.save)
        write_whole(folder / PICTURE_FILE, lambda path: write_safetensors(picture, path))
        description = make_description(
            folder,
            name=name,
            prefix_length=captions.length,
            examples=[caption_line(text) for text in examples],
            settings=dataclasses.asdict(settings),
            presets={key: dataclasses.asdict(value) for key, value in (presets or {}).items()},
        )
        trained = load_described(folder, description)
        write_description(folder, description)
    except OSError as error:
        raise WeightsError(f"{error.filename or folder}: cannot write it: {error.strerror or error}") from None
    return trained


def is_described(folder: Path, name: str | None = None) -> bool:
    """Whether a folder's models.json tells of all weights in it as they are, and calls them `name`, if one is given."""
    try:
        description = read_description(folder)
    except WeightsError:
        return False
    weights = {path.name for path in folder.iterdir() if WEIGHTS_FILE.fullmatch(path.name)}
    return weights <= description.files.keys() and name in (None, description.name)


def describe_again(folder: Path) -> Trained:
    """Enter weights that were added to a folder of trained models into its models.json.

    Raises:
        WeightsError: it is no such folder, the files do not belong together, or it cannot be written.
    """
    known = read_description(folder)
    facts = known.model_dump(include={"name", "prefix_length", "examples", "settings", "presets"})
    description = make_description(folder, **facts)
    try:
        trained = load_described(folder, description)
        write_description(folder, description)
    except OSError as error:
        raise WeightsError(f"{error.filename or folder}: cannot write it: {error.strerror or error}") from None
    return trained


def save_trained(trained: Trained, folder: Path) -> None:
    """Write trained models into a new folder, which appears whole or not at all.

    Args:
        trained: Weights are kept in float16, but a published tokenizer's as they are.
        folder: Does not exist.

    Raises:
        WeightsError: it exists, cannot be written, or the models do not belong together.
    """
    if folder.exists():
        raise WeightsError(f"{folder}: expected no folder of this name, found one; give another")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder_beside(folder.parent, f".{folder.name}.partial-") as beside:
            inside = beside / folder.name
            inside.mkdir()
            _save_models(trained.models, inside)
            describe_trained(
                inside,
                trained.name,
                trained.captions,
                trained.examples,
                trained.tokens,
                trained.settings,
                trained.presets,
            )
            inside.rename(folder)
    except OSError as error:
        raise WeightsError(f"{error.filename or folder}: cannot write it: {error.strerror or error}") from None


def _save_models(models: Models, folder: Path) -> None:
    tokenizer = models.tokenizer
    if not isinstance(tokenizer, Tokenizer | VQTokenizer):
        raise WeightsError(f"{folder}: expected a tokenizer of ours or LlamaGen's, got {type(tokenizer).__name__}")
    dtype = torch.float32 if isinstance(tokenizer, VQTokenizer) else torch.float16
    save_weights(tokenizer, tokenizer.config, folder / "tokenizer.safetensors", dtype)
    for number, name in enumerate(names_of(models)):
        model = models.transformer(number)
        save_weights(model, model.config, folder / f"{name}.safetensors")
    for ratio, up in models.latent_up_samplers.items():
        save_weights(up, up.config, folder / f"up_sampler_{ratio}.safetensors")
    for ratio, down in models.latent_down_samplers.items():
        save_weights(down, down.config, folder / f"down_sampler_{ratio}.safetensors")
    if models.head is not None:
        save_tensors(own_tensors(models.head), models.head.config, folder / "head.safetensors")
    if models.block is not None:
        save_weights(models.block, models.block.config, folder / "block.safetensors")
