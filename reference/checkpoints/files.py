"""Read a published weight file, whatever it is called: torch.save's, safetensors, or several with an index."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mulo_sd.reference.checkpoints.kinds import kind_of
from mulo_sd.reference.checkpoints.names import LEFT_OVERS, bare_names
from mulo_sd.reference.checkpoints.pickles import read_pickle
from mulo_sd.reference.checkpoints.shards import file_of, read_index
from mulo_sd.reference.checkpoints.stand_ins import Arguments
from mulo_sd.reference.weights import MAX_WEIGHT_BYTES, AnyModule, WeightsError, check_finite, shapes_of, with_tensors

# Under which names files keep their tensors, in the order in which published inference looks for them. An average of
# the weights (`ema`) comes last: LlamaGen's sampling takes `model` where a file of its training holds both.
WRAPPERS = ("model", "module", "state_dict", "sd", "ema")
MAX_WRAPPERS = 4  # one in another
MAX_SHOWN = 8


def read_checkpoint(path: Path) -> Mapping[str, Any]:
    """Return what a file holds, or the files of an index, or of a folder: tensors by name, or wrappers around them.

    Raises:
        WeightsError: no such file, too large, a web page, a truncated download, or types that are not loaded.
    """
    try:
        file = file_of(path)
        kind = kind_of(file)
        return read_index(file, _read_one) if kind == "index" else _read_one(file)
    except OSError as error:  # a name that is too long, a folder that may not be read
        raise WeightsError(f"{path}: cannot read it: {error.strerror or error}") from None


def _read_one(path: Path) -> Mapping[str, Any]:
    kind = kind_of(path)
    if kind == "index":
        raise WeightsError(f"{path}: expected weights, got another index")
    if kind == "safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError, TypeError, RuntimeError, KeyError) as error:
            line = " ".join(str(error).split())[:120]
            raise WeightsError(f"{path}: expected a whole checkpoint, got: {line}; download it again") from None
    content = read_pickle(path, kind == "torch zip")
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path}: expected tensors by name, got {type(content).__name__}")
    return content


def arguments_of(content: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the arguments that a model was made with, where a file tells them: beside its tensors or one level up."""
    wrapped = content.get("model")
    for holder in (wrapped, content):
        arguments = holder.get("args") if isinstance(holder, Mapping) else None
        if isinstance(arguments, Arguments):
            return arguments.values
        if isinstance(arguments, Mapping):
            return arguments
    return None


def tensors_of(content: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by the model's own names, out of its wrappers, or bare.

    Raises:
        WeightsError: there are none, or something else stands among them.
    """
    for _ in range(MAX_WRAPPERS):
        inner = next((content[name] for name in WRAPPERS if isinstance(content.get(name), Mapping)), None)
        if inner is None:
            break
        content = inner
    others = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    if others or not content:
        got = f"also {', '.join(sorted(others)[:MAX_SHOWN])}" if content else "nothing"
        raise WeightsError(f"{path}: expected tensors by name under {', '.join(WRAPPERS)} or bare, got {got}")
    named = bare_names({str(name): value for name, value in content.items()}, path)
    return {name: value for name, value in named.items() if not LEFT_OVERS.fullmatch(name)}


def _check_backed(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Check that tensors are plain numbers that lie in the file, and no more than fit: a few may claim to be many."""
    for name, value in tensors.items():
        plain = value.layout == torch.strided and value.device.type == "cpu" and not value.is_quantized
        if not plain or not value.is_floating_point():
            raise WeightsError(f"{path}: {name}: expected plain floating-point numbers, got {value.dtype}")
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise WeightsError(f"{path}: {name}: expected {value.numel()} numbers in the file, got fewer, repeated")
    total = sum(4 * value.numel() for value in tensors.values())
    if total > MAX_WEIGHT_BYTES:
        raise WeightsError(f"{path}: expected at most {MAX_WEIGHT_BYTES} bytes of weights in float32, got {total}")


def filled(
    make: Callable[[], AnyModule],
    tensors: Mapping[str, Tensor],
    path: Path,
    strays: Iterable[str] = (),
    dtype: torch.dtype | None = torch.float32,
) -> AnyModule:
    """Return a module with the tensors of a file, in float32.

    Args:
        make: Makes the module.
        tensors: By the published names.
        path: For messages.
        strays: Names that published files hold although nothing needs them.
        dtype: The precision that the numbers must fit; they stay in float32. None leaves them unread, so that a file in
            float32 takes no memory before it is used.

    Raises:
        WeightsError: tensors are unknown, missing or misshapen, each listed by kind, or their numbers are none.
    """
    expected = shapes_of(make)
    shapes = {name: tuple(value.shape) for name, value in tensors.items() if name not in set(strays)}
    shared = expected.keys() & shapes.keys()
    kinds = {
        "missing": expected.keys() - shapes.keys(),
        "unknown": shapes.keys() - expected.keys(),
        "misshapen": {name for name in shared if expected[name] != shapes[name]},
    }
    faults = [f"{kind}: {_listed(sorted(names), expected, shapes)}" for kind, names in kinds.items() if names]
    if faults:
        raise WeightsError(f"{path}: its tensors do not fit: {'; '.join(faults)}")
    used = {name: tensors[name].detach() for name in expected}
    _check_backed(used, path)
    chosen = {name: value.float() for name, value in used.items()}
    if dtype is not None:
        check_finite(chosen, path, dtype)
    return with_tensors(make, chosen)


def _listed(names: list[str], expected: Mapping[str, tuple[int, ...]], shapes: Mapping[str, tuple[int, ...]]) -> str:
    shown = [
        f"{name} ({list(shapes[name])}, not {list(expected[name])})" if name in expected and name in shapes else name
        for name in names[:MAX_SHOWN]
    ]
    more = f" and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else ""
    return ", ".join(shown) + more
