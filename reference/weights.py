"""Weights on disk: safetensors whose metadata carries the configuration that they fit."""

import dataclasses
import errno
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, get_args, get_origin, get_type_hints

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from mulo_sd.engines.files.whole_files import write_whole
from mulo_sd.reference.head import SHARED, Head, HeadConfig, with_shared
from mulo_sd.reference.latent import LatentDownSampler, LatentScalerConfig, LatentUpSampler
from mulo_sd.reference.tokenizer import Tokenizer, TokenizerConfig
from mulo_sd.reference.transformer import Transformer, TransformerConfig

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

AnyConfig = TokenizerConfig | TransformerConfig | HeadConfig | LatentScalerConfig
Config = TypeVar("Config", TokenizerConfig, TransformerConfig, HeadConfig, LatentScalerConfig)
Module = TypeVar("Module", Tokenizer, Transformer, Head, LatentUpSampler, LatentDownSampler)
AnyModule = TypeVar("AnyModule", bound=nn.Module)
AnyDataclass = TypeVar("AnyDataclass", bound="DataclassInstance")
MAX_WEIGHT_BYTES = 32 * 2**30
MAX_CONFIG_NUMBER = 2**20
# Fields that say how many modules there are, each with a tensor of its own.
COUNTS = ("layers", "encoder_blocks", "decoder_blocks", "coarse_blocks", "fine_blocks")


class WeightsError(ValueError):
    """A weight file that cannot be used; its message is one line for the user."""


def save_weights(
    module: nn.Module, config: "DataclassInstance", path: Path, dtype: torch.dtype = torch.float16
) -> None:
    """Write a module's weights with its configuration; the file appears whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    save_tensors(module.state_dict(), config, path, dtype)


def save_tensors(
    tensors: Mapping[str, torch.Tensor],
    config: "DataclassInstance",
    path: Path,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write tensors with the configuration that they fit; the file appears whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    tensors = {name: value.detach().to(dtype).contiguous() for name, value in tensors.items()}
    # One entry: safetensors writes several in whatever order its hash map holds them, and the bytes would vary.
    metadata = {type(config).__name__: json.dumps(dataclasses.asdict(config))}
    write_whole(path, lambda beside: write_safetensors(tensors, beside, metadata))


def write_safetensors(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write tensors into a file.

    Raises:
        OSError: it cannot be written; safetensors has an error of its own where a disk is full.
    """
    path.touch()  # with the mode that files have here; safetensors makes its own for the owner alone
    mode = path.stat().st_mode & 0o777
    try:
        save_file(tensors, path, metadata)
        path.chmod(mode)
    except SafetensorError as error:
        raise OSError(errno.EIO, " ".join(str(error).split()), str(path)) from None


def config_names(path: Path) -> frozenset[str]:
    """Return the names of the configurations that a safetensors file holds.

    Raises:
        WeightsError: no such file, or not safetensors.
    """
    return frozenset(_metadata(path))


def config_of(path: Path, kind: type[AnyDataclass]) -> AnyDataclass:
    """Return a configuration that a safetensors file holds, its numbers of sensible size.

    Raises:
        WeightsError: no such file, not safetensors, or no such configuration.
    """
    return _read_config(path, kind, _metadata(path))


def _metadata(path: Path) -> dict[str, str]:
    _check_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: expected a safetensors file, got: {str(error).splitlines()[0]}") from None


def _check_file(path: Path) -> None:
    try:
        is_there = path.is_file()
    except OSError as error:  # a name that is too long, a folder that may not be read
        raise WeightsError(f"{path}: cannot read it: {error.strerror or error}") from None
    if not is_there:
        raise WeightsError(f"{path}: expected a safetensors file, found none; give the path of one")
    if path.stat().st_size > MAX_WEIGHT_BYTES:
        raise WeightsError(f"{path}: expected at most {MAX_WEIGHT_BYTES} bytes, got {path.stat().st_size}")


def _load(path: Path, kind: type[Config]) -> tuple[Config, dict[str, torch.Tensor]]:
    _check_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118  (no iterator)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: expected a safetensors file, got: {str(error).splitlines()[0]}") from None
    config = _read_config(path, kind, metadata)
    too_many = [name for name in COUNTS if getattr(config, name, 0) > len(tensors)]
    if too_many:
        raise _does_not_fit(path, kind, f"{too_many[0]}: expected at most one a tensor of the file, {len(tensors)}")
    return config, tensors


def _read_config(path: Path, kind: type[AnyDataclass], metadata: Mapping[str, str]) -> AnyDataclass:
    if kind.__name__ not in metadata:
        named = " ".join(", ".join(sorted(metadata)).split())[:120] or "none named"
        raise WeightsError(f"{path}: expected weights of a {kind.__name__}, got {named}")
    try:
        return _config(kind, json.loads(metadata[kind.__name__]))
    except (TypeError, ValueError, RecursionError) as error:
        raise _does_not_fit(path, kind, error) from None


def _does_not_fit(path: Path, kind: type, why: object) -> WeightsError:
    line = " ".join(str(why).split())[:120]
    return WeightsError(f"{path}: its configuration does not fit {kind.__name__}: {line}")


def _config(kind: type[AnyDataclass], values: object) -> AnyDataclass:
    """Make a configuration of plain values of sensible size; a file from outside may hold anything."""
    allowed = get_type_hints(kind)
    if not isinstance(values, dict) or not allowed.keys() >= values.keys():
        raise ValueError(f"expected the fields {', '.join(sorted(allowed))}")
    for name, value in values.items():
        if get_origin(allowed[name]) is Literal or allowed[name] is bool:
            choices = get_args(allowed[name]) or (False, True)
            if not any(value is choice or (isinstance(value, str) and value == choice) for choice in choices):
                raise ValueError(f"{name}: expected one of {', '.join(map(str, choices))}, got {value!r:.40}")
            continue
        right = isinstance(value, (int, float) if allowed[name] is float else int) and not isinstance(value, bool)
        may_be_zero = getattr(kind, name, 1) == 0
        if not right or not (0 < value <= MAX_CONFIG_NUMBER or (may_be_zero and value == 0)):
            raise ValueError(f"{name}: expected a number in 1..{MAX_CONFIG_NUMBER}, got {value!r:.40}")
    return kind(**values)


def shapes_of(make: Callable[[], nn.Module]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a module's tensors; nothing of their size is made, whatever a file's configuration asks."""
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in make().state_dict().items()}


def farthest_from_zero(values: torch.Tensor) -> torch.Tensor:
    """Return the number that is farthest from 0, a scalar, and NaN where there is one; no copy is made."""
    low, high = values.detach().aminmax()
    return low if bool(low != low) or bool(-low > high) else high


def check_finite(tensors: Mapping[str, torch.Tensor], path: Path, dtype: torch.dtype = torch.float32) -> None:
    """Check the numbers of a file.

    Args:
        tensors: By name.
        path: For messages.
        dtype: The precision that they will be cast to: what is too large for it becomes infinity there.

    Raises:
        WeightsError: one is not finite, or too large for the precision.
    """
    worst = {name: farthest_from_zero(value) for name, value in tensors.items() if value.numel()}
    broken = sorted(name for name, value in worst.items() if not bool(torch.isfinite(value)))
    if broken:
        raise WeightsError(f"{path}: expected finite numbers, got NaN or infinity in {', '.join(broken[:8])}")
    for name, value in sorted(worst.items()):
        if not bool(torch.isfinite(value.to(dtype))):
            limit = f"up to {torch.finfo(dtype).max:g} for {str(dtype).removeprefix('torch.')}"
            raise WeightsError(f"{path}: {name}: expected numbers {limit}, got {value:g}; use another precision")


def with_tensors(make: Callable[[], AnyModule], tensors: Mapping[str, torch.Tensor]) -> AnyModule:
    """Return a module with the tensors of a file, which fit it."""
    with torch.device("meta"):  # the file's tensors become the module's own: no weights are drawn and none copied
        module = make()
    module.load_state_dict(tensors, assign=True)
    for part in module.modules():
        if isinstance(part, Transformer | Head):
            part.make_rotary_table()
    return module.eval().requires_grad_(False)


def _filled(make: Callable[[], Module], tensors: dict[str, torch.Tensor], path: Path) -> Module:
    expected = shapes_of(make)
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    if expected != shapes:
        wrong = sorted(name for name in expected.keys() | shapes.keys() if expected.get(name) != shapes.get(name))
        raise WeightsError(f"{path}: unknown, missing or misshapen tensors: {', '.join(wrong[:8])}")
    check_finite(tensors, path)
    return with_tensors(make, tensors)


def load_tokenizer(path: Path) -> Tokenizer:
    """Load a tokenizer in float32.

    Raises:
        WeightsError: no such file, not safetensors, or weights of something else.
    """
    config, tensors = _load(path, TokenizerConfig)
    return _filled(lambda: Tokenizer(config), tensors, path)


def load_transformer(path: Path) -> Transformer:
    """Load a transformer in float32.

    Raises:
        WeightsError: no such file, not safetensors, or weights of something else.
    """
    config, tensors = _load(path, TransformerConfig)
    return _filled(lambda: Transformer(config), tensors, path)


def load_head(path: Path, target: Transformer) -> Head:
    """Load a target's drafting head in float32; what its file leaves out is the target's own.

    Raises:
        WeightsError: no such file, not safetensors, or weights of something else.
    """
    config, tensors = _load(path, HeadConfig)
    own = {name: value.shape for name, value in target.state_dict().items() if name in SHARED}
    expected = dict.fromkeys(SHARED, (config.vocabulary, config.dim))
    if own != expected:
        raise WeightsError(
            f"{path}: expected a head for {target.config.vocabulary} codes and width {target.config.dim}, got one for "
            f"{config.vocabulary} and {config.dim}; train one for this target"
        )
    return _filled(lambda: Head(config), with_shared(tensors, target), path)


def load_latent_up_sampler(path: Path) -> LatentUpSampler:
    """Load a latent up-sampler in float32.

    Raises:
        WeightsError: no such file, not safetensors, or weights of something else.
    """
    config, tensors = _load(path, LatentScalerConfig)
    return _filled(lambda: LatentUpSampler(config), tensors, path)


def load_latent_down_sampler(path: Path) -> LatentDownSampler:
    """Load a latent down-sampler in float32.

    Raises:
        WeightsError: no such file, not safetensors, or weights of something else.
    """
    config, tensors = _load(path, LatentScalerConfig)
    return _filled(lambda: LatentDownSampler(config), tensors, path)


def weights_sha256(module: nn.Module) -> str:
    """Return the sha256, in hex, of a module's weights in float32, by name: which models a bundle was built from."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.float().contiguous().numpy().tobytes())
    return digest.hexdigest()
