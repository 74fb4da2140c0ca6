"""Checkpoints in several files, with an index that says which tensor lies in which; or a folder with either."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mulo_sd.reference.weights import MAX_WEIGHT_BYTES, WeightsError

MAX_INDEX_BYTES, MAX_SHARDS = 16 * 2**20, 1000
# No file system takes a longer name for a file.
MAX_NAME_BYTES = 255
INDEXES = ("*.safetensors.index.json", "*.bin.index.json")
# How one of several files is called.
SHARD = re.compile(r"-\d{5}-of-\d{5}$")
# What a folder's single file of weights is called.
SINGLE = ("*.safetensors", "*.pt", "*.pth", "*.bin", "*.ckpt")


def file_of(path: Path) -> Path:
    """Return the file of weights, or the index, that a folder holds; a file is returned as it is.

    Raises:
        WeightsError: there is no such file, it is one of several, or the folder holds none or several.
    """
    if path.is_file():
        index = next((files for pattern in INDEXES for files in sorted(path.parent.glob(pattern))), None)
        if SHARD.search(path.stem) and index is not None:
            raise WeightsError(f"{path}: expected a whole checkpoint, got one of several files; give {index}")
        return path
    if not path.is_dir():
        raise WeightsError(
            f"{path}: expected a file of weights (.pt, .pth, .safetensors), found none; give the path of one"
        )
    indexes = [files for pattern in INDEXES for files in sorted(path.glob(pattern))]
    files = indexes or [files for pattern in SINGLE for files in sorted(path.glob(pattern))]
    if len(files) != 1:
        shown = ", ".join(file.name[:60] for file in files[:4]) or "none"
        raise WeightsError(f"{path}: expected a folder with one file of weights or one index, got {shown}; give a file")
    return files[0]


def read_index(path: Path, read: Callable[[Path], Mapping[str, Any]]) -> dict[str, Tensor]:
    """Return the tensors that an index lists.

    Args:
        path: Of the index; all of its files lie beside it.
        read: Reads one of them.

    Raises:
        WeightsError: it is no index, names a file that is not beside it, or a tensor that its file does not hold.
    """
    places = _weight_map(path)
    shards = sorted(set(places.values()))
    if len(shards) > MAX_SHARDS:
        raise WeightsError(f"{path}: expected at most {MAX_SHARDS} files of weights, got {len(shards)}")
    total = 0
    for shard in shards:
        file = path.parent / shard
        if not file.is_file():
            raise WeightsError(f"{path}: expected {shard[:80]!r} beside it, found none; download it, too")
        total += file.stat().st_size
    if total > MAX_WEIGHT_BYTES:
        raise WeightsError(f"{path}: expected at most {MAX_WEIGHT_BYTES} bytes in its files, got {total}")
    tensors: dict[str, Tensor] = {}
    for shard in shards:
        content = read(path.parent / shard)
        for name in (name for name, holder in places.items() if holder == shard):
            if not isinstance(content.get(name), Tensor):
                raise WeightsError(f"{path}: expected the tensor {name[:80]} in {shard[:80]!r}, found none")
            tensors[name] = content[name]
    return tensors


def _weight_map(path: Path) -> dict[str, str]:
    """Return the file's name of every tensor of an index."""
    if path.stat().st_size > MAX_INDEX_BYTES:
        raise WeightsError(f"{path}: expected an index of at most {MAX_INDEX_BYTES} bytes, got {path.stat().st_size}")
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        raise WeightsError(
            f"{path}: expected weights or an index of their files, got no JSON; download it again"
        ) from None
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not places or not all(isinstance(file, str) for file in places.values()):
        raise WeightsError(f"{path}: expected weights, or an index with a weight_map of their files, got other JSON")
    for file in places.values():
        # The names of files alone: an index from outside must not reach others of the user's.
        is_name = file not in ("", ".", "..") and Path(file).name == file and not any(sign in file for sign in "/\\:\0")
        if not is_name or len(file.encode(errors="surrogatepass")) > MAX_NAME_BYTES:
            raise WeightsError(f"{path}: expected names of files beside it, got {file[:80]!r}")
    return places
