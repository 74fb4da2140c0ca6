"""The folder that a training on captioned pictures leaves, and what is read from it.

```
tokenizer.safetensors, target.safetensors, drafter_1.safetensors   and drafter_2 and so on
up_sampler_2.safetensors, down_sampler_2.safetensors, ...          latent samplers by ratio, where there are some
head.safetensors, block.safetensors                                what else drafts for the target, likewise
captions.json                                                      the captions' tokenizer, as the library writes it
picture.safetensors                                                a picture's tokens on the grid of each model
models.json                                                        what all this is, with the hash of each file
```
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mulo_sd.engines.prompts.caption_file import CaptionsFileError, load_caption_ids
from mulo_sd.engines.prompts.caption_ids import CaptionIds
from mulo_sd.reference.checkpoints.vq import load_image_tokenizer
from mulo_sd.reference.latent import LatentDownSampler, LatentUpSampler
from mulo_sd.reference.models import Condition, Models
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.trained.description import (
    CAPTIONS_FILE,
    PICTURE_FILE,
    Description,
    read_description,
    settings_from,
)
from mulo_sd.reference.trained.fit import check_grids, check_sampler, check_tokens, check_transformer
from mulo_sd.reference.transformer import Transformer
from mulo_sd.reference.weights import (
    WeightsError,
    load_head,
    load_latent_down_sampler,
    load_latent_up_sampler,
    load_transformer,
)

MAX_PICTURE_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Trained:
    """Trained models, and what is needed to use them.

    Attributes:
        name: What their bundle calls itself.
        models: In float32.
        captions: Turns captions into prefixes.
        examples: Captions that show what the models do, a line each.
        tokens: Of the first one's picture, on the grid of each model, Int[h, w].
        settings: That a decode starts from.
        presets: Further ones by name.
    """

    name: str
    models: Models
    captions: CaptionIds
    examples: tuple[str, ...]
    tokens: tuple[Tensor, ...]
    settings: Settings
    presets: Mapping[str, Settings] = field(default_factory=dict)

    def condition(self, caption: str) -> Condition:
        """Return what the models take for a caption."""
        cond, uncond = self.captions.condition(caption), self.captions.null_condition()
        return Condition(torch.from_numpy(cond), torch.from_numpy(uncond))


def load_trained(folder: Path) -> Trained:
    """Load a folder of trained models.

    Raises:
        WeightsError: it is none, of another version, or incomplete; a file has changed, holds numbers that are not
            finite, or does not belong to the others.
    """
    try:
        return load_described(folder, read_description(folder))
    except OSError as error:
        raise WeightsError(f"{folder}: cannot read it: {error.strerror or error}") from None


def load_described(folder: Path, description: Description) -> Trained:
    """Load the files of a folder as its description says.

    Raises:
        WeightsError: as `load_trained`.
        OSError: a file cannot be read.
    """
    models = _load_models(folder, description)
    transformers = [models.target, *models.drafters, *([models.block] if models.block else [])]
    ids = min(model.config.prefix_vocabulary for model in transformers)
    try:
        captions = load_caption_ids(folder / CAPTIONS_FILE, description.prefix_length, ids)
    except CaptionsFileError as error:
        raise WeightsError(str(error)) from None
    except ModuleNotFoundError as error:
        raise WeightsError(
            f"{folder / CAPTIONS_FILE}: {error.name} is not installed; install the extra `mulo-sd[captions]`"
        ) from None
    presets = {name: settings_from(content) for name, content in description.presets.items()}
    settings = settings_from(description.settings)
    for place, value in {"settings": settings, **{f"presets.{name}": item for name, item in presets.items()}}.items():
        if max(value.model_numbers) > len(models.drafters):
            raise WeightsError(
                f"{folder}: {place}: expected drafters in 1..{len(models.drafters)}, got {max(value.model_numbers)}"
            )
    tokens = _load_tokens(folder / PICTURE_FILE, models)
    return Trained(description.name, models, captions, tuple(description.examples), tokens, settings, presets)


def _load_models(folder: Path, description: Description) -> Models:
    length, tokenizer = description.prefix_length, load_image_tokenizer(folder / "tokenizer.safetensors")
    drafters = description.weights("drafter")
    if [*drafters] != [*range(1, len(drafters) + 1)]:
        raise WeightsError(
            f"{folder}: expected drafters that are numbered from 1 on, got {', '.join(drafters.values())}"
        )
    paths = [folder / name for name in ("target.safetensors", *drafters.values())]
    loaded = {path: load_transformer(path) for path in paths}
    for path, model in loaded.items():
        check_transformer(model, path, length, tokenizer.config.codes)
    check_grids(loaded)
    target = loaded[paths[0]]
    up: dict[int, LatentUpSampler] = {}
    down: dict[int, LatentDownSampler] = {}
    for ratio, name in description.weights("up_sampler").items():
        up[ratio] = load_latent_up_sampler(folder / name)
        check_sampler(up[ratio], folder / name, ratio, tokenizer)
    for ratio, name in description.weights("down_sampler").items():
        down[ratio] = load_latent_down_sampler(folder / name)
        check_sampler(down[ratio], folder / name, ratio, tokenizer)
    head, block = folder / "head.safetensors", folder / "block.safetensors"
    try:
        return Models(
            target,
            tuple(loaded[path] for path in paths[1:]),
            tokenizer,
            up,
            down,
            load_head(head, target) if head.name in description.files else None,
            _load_block(block, target) if block.name in description.files else None,
        )
    except ValueError as error:
        raise error if isinstance(error, WeightsError) else WeightsError(f"{folder}: {error}") from None


def _load_block(path: Path, target: Transformer) -> Transformer:
    block = load_transformer(path)
    check_transformer(block, path, target.config.prefix_length, target.config.vocabulary + 1)
    return block


def names_of(models: Models) -> list[str]:
    """Return what the transformers' files are called, the target's first."""
    return ["target", *(f"drafter_{number}" for number in range(1, len(models.drafters) + 1))]


def _load_tokens(path: Path, models: Models) -> tuple[Tensor, ...]:
    if path.stat().st_size > MAX_PICTURE_BYTES:
        raise WeightsError(f"{path}: expected at most {MAX_PICTURE_BYTES} bytes, got {path.stat().st_size}")
    try:
        tensors = load_file(path)
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{path}: expected a safetensors file, got: {str(error).splitlines()[0][:120]}") from None
    names = names_of(models)
    if sorted(tensors) != sorted(names):
        raise WeightsError(f"{path}: expected tokens for {', '.join(names)}, got {', '.join(sorted(tensors))[:120]}")
    for number, name in enumerate(names):
        check_tokens(tensors[name], path, models.transformer(number), name)
    return tuple(tensors[name].long() for name in names)
