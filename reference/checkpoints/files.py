"""Read a published weight file: .pt or .pth through weights_only, or safetensors; nothing in it is run."""

import pickle
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from reference.weights import MAX_WEIGHT_BYTES, AnyModule, WeightsError, check_finite, shapes_of, with_tensors

# Under which names the published files keep their tensors, in the order in which they are looked for.
WRAPPERS = ("model", "module", "state_dict", "ema")
MOST_SHOWN = 8


def read_checkpoint(path: Path) -> Mapping[str, Any]:
    """Return what a file holds: tensors by name, or a wrapper around them.

    Raises:
        WeightsError: no such file, too large, a web page, a truncated download, or something that is run when read.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: expected a .pt, .pth or .safetensors file, found none; give the path of one")
    size = path.stat().st_size
    if not 0 < size <= MAX_WEIGHT_BYTES:
        raise WeightsError(f"{path}: expected 1 to {MAX_WEIGHT_BYTES} bytes, got {size}; download it again")
    with path.open("rb") as file:
        start = file.read(512).lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise WeightsError(
            f"{path}: expected weights, got a web page; the download was answered with an error: try again"
        )
    if start.startswith(b"version https://git-lfs"):
        raise WeightsError(
            f"{path}: expected weights, got a Git LFS pointer; fetch the file itself with `git lfs pull`"
        )
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except pickle.UnpicklingError:
        raise WeightsError(
            f"{path}: expected tensors and plain values, got a pickle that would run code; it is not read"
        ) from None
    except Exception as error:  # torch and zipfile raise a dozen classes for files that are none
        line = " ".join(str(error).split())[:120] or type(error).__name__
        raise WeightsError(f"{path}: expected a whole checkpoint, got: {line}; download it again") from None
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path}: expected tensors by name, got {type(content).__name__}")
    return content


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def tensors_of(content: Mapping[str, Any], path: Path, wrappers: Iterable[str] = WRAPPERS) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by name, out of the first wrapper that is there, or bare.

    Raises:
        WeightsError: there are none, or something else stands among them.
    """
    for name in wrappers:
        if isinstance(content.get(name), Mapping):
            content = content[name]
            break
    others = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    if others or not content:
        got = f"also {', '.join(sorted(others)[:MOST_SHOWN])}" if content else "nothing"
        raise WeightsError(f"{path}: expected tensors by name under {', '.join(wrappers)} or bare, got {got}")
    return dict(content)


def filled(
    make: Callable[[], AnyModule],
    tensors: Mapping[str, Tensor],
    path: Path,
    strays: Iterable[str] = (),
    read_numbers: bool = True,
) -> AnyModule:
    """Return a module with the tensors of a file, in float32.

    Args:
        make: Makes the module.
        tensors: By the published names.
        path: For messages.
        strays: Names that published files hold although nothing needs them.
        read_numbers: Check that all are finite; without, a file in float32 is not read before it is used.

    Raises:
        WeightsError: tensors are unknown, missing or misshapen, each listed by kind, or not finite.
    """
    expected = shapes_of(make)
    found = {name: tuple(value.shape) for name, value in tensors.items() if name not in set(strays)}
    shared = expected.keys() & found.keys()
    kinds = {
        "missing": expected.keys() - found.keys(),
        "unknown": found.keys() - expected.keys(),
        "misshapen": {name for name in shared if expected[name] != found[name]},
    }
    told = [f"{kind}: {_listed(sorted(names), expected, found)}" for kind, names in kinds.items() if names]
    if told:
        raise WeightsError(f"{path}: its tensors do not fit: {'; '.join(told)}")
    chosen = {name: tensors[name].float() for name in expected}
    if read_numbers:
        check_finite(chosen, path)
    return with_tensors(make, chosen)


def _listed(names: list[str], expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]) -> str:
    shown = [
        f"{name} ({list(found[name])}, not {list(expected[name])})" if name in expected and name in found else name
        for name in names[:MOST_SHOWN]
    ]
    more = f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
    return ", ".join(shown) + more
