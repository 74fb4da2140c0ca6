"""Features of images for `encoder_frechet`: what the tokenizer's encoder sees in them, summed up over its cells.

For each channel of the encoder's last hidden layer (all of `tokenizer.encoder` but its final 1x1
convolution), mean and standard deviation over the cells. A distance between such features compares
variants of this study with each other. It is no FID: neither Inception's features nor comparable numbers.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import cast
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import nn

from mulo_sd.conformance.study.rows import Row
from mulo_sd.engines.files.whole_files import write_bytes_whole
from mulo_sd.reference.tokenizer import ImageTokenizer

FEATURES_NAME = "features.npz"
BATCH = 16
Key = tuple[str, int, int]
Features = dict[Key, NDArray[np.float32]]


@torch.inference_mode()
def features_from_tokens(tokenizer: ImageTokenizer, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the features, Float32[B, 2 * width], of the images that tokens, Int[B, H, W], decode to."""
    images = tokenizer.images_from_tokens(torch.from_numpy(tokens))
    hidden = cast(nn.Sequential, tokenizer.encoder)[:-1](images).flatten(2)
    features = torch.cat([hidden.mean(dim=2), hidden.std(dim=2, correction=0)], dim=1)
    return np.asarray(features.float().numpy())


def _name(key: Key) -> str:
    return ":".join(map(str, key))


def _read(path: Path) -> dict[str, NDArray[np.float32]]:
    """Return cached features by name; a cache that cannot be read is made anew."""
    try:
        with np.load(path, allow_pickle=False) as content:
            return dict(zip(content["names"].tolist(), content["features"], strict=True))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return {}


def _write(path: Path, features: dict[str, NDArray[np.float32]]) -> None:
    content = io.BytesIO()
    np.savez(content, names=np.array(list(features)), features=np.stack(list(features.values())))
    write_bytes_whole(path, content.getvalue())


def features_of(rows: Sequence[Row], tokenizer: ImageTokenizer, folder: Path) -> Features:
    """Return the features of every row by its key, Float32[2 * width] each; computed once and kept in the folder."""
    known = _read(folder / FEATURES_NAME)
    missing = [row for row in rows if _name(row.key) not in known]
    for first in track(range(0, len(missing), BATCH), description="features", disable=not missing, transient=True):
        part = missing[first : first + BATCH]
        values = features_from_tokens(tokenizer, np.stack([row.grid() for row in part]))
        known |= {_name(row.key): value for row, value in zip(part, values, strict=True)}
    if missing:
        _write(folder / FEATURES_NAME, known)
    return {row.key: known[_name(row.key)] for row in rows}
