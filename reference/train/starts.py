"""What a training starts from: published weights, ours, or those that lie in its own folder."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import torch

from mulo_sd.engines.files.folder_beside import folder_beside
from mulo_sd.engines.files.whole_files import PARTIAL
from mulo_sd.reference.checkpoints.ar_dtok import load_ar_dtok
from mulo_sd.reference.checkpoints.files import read_checkpoint, tensors_of
from mulo_sd.reference.checkpoints.kinds import kind_of
from mulo_sd.reference.checkpoints.llamagen import load_llamagen
from mulo_sd.reference.checkpoints.vq import VQConfig, VQTokenizer, load_vq
from mulo_sd.reference.tokenizer import Tokenizer
from mulo_sd.reference.train.checkpoints import RunError
from mulo_sd.reference.transformer import Transformer
from mulo_sd.reference.weights import config_names, load_tokenizer, load_transformer, save_weights

# Of a published LlamaGen, whose file does not tell its grid; its positions follow from the grid that is trained.
ANY_GRID = 16


@dataclass(frozen=True)
class Starts:
    """Files that models build on.

    Attributes:
        tokenizer: The image tokenizer.
        target: For which a head or a block drafter drafts.
        warm_start: What a transformer starts from, by its name.
        heads: Of a published one whose size is none that is published.
    """

    tokenizer: Path
    target: Path
    warm_start: dict[str, Path] = field(default_factory=dict)
    heads: int | None = None


def _is_ours(path: Path) -> bool:
    """Whether a file is one of safetensors that says what it is.

    Raises:
        WeightsError: there is none, or it is no weights.
    """
    return path.is_file() and kind_of(path) == "safetensors" and bool(config_names(path) - {"format"})


def load_given_tokenizer(path: Path) -> Tokenizer | VQTokenizer:
    """Load an image tokenizer: ours, or LlamaGen's as it is published.

    Raises:
        WeightsError: it cannot be used.
    """
    return load_tokenizer(path) if _is_ours(path) and VQConfig.__name__ not in config_names(path) else load_vq(path)


def load_start(path: Path, heads: int | None) -> Transformer:
    """Load a transformer to start from: ours, or LlamaGen's or Tar's as they are published.

    Args:
        path: Its file.
        heads: Of a published one whose size is none that is published.

    Raises:
        WeightsError: it cannot be used.
    """
    if _is_ours(path):
        return load_transformer(path)
    if "clip_proj.weight" in tensors_of(read_checkpoint(path), path):
        return load_ar_dtok(path, heads)
    return load_llamagen(path, ANY_GRID, heads)


def keep_tokenizer(tokenizer: Tokenizer | VQTokenizer, given: Path, own: Path) -> None:
    """Put a tokenizer that was given among the models of a training, which it belongs to from then on.

    Args:
        tokenizer: As it was loaded.
        given: Its file, for messages.
        own: Where it goes.

    Raises:
        RunError: another one is there.
    """
    dtype = torch.float32 if isinstance(tokenizer, VQTokenizer) else torch.float16
    with folder_beside(own.parent, PARTIAL) as folder:
        made = folder / own.name
        save_weights(tokenizer, tokenizer.config, made, dtype)
        if not own.exists():
            made.replace(own)
        elif file_hash(made) != file_hash(own):
            raise RunError(f"{own}: expected the tokenizer of {given} or none, found another; give another --out")


def file_hash(path: Path) -> str:
    """Return the sha256 of a file in hex, reading it in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
