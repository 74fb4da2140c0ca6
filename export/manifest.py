"""Fill in a bundle's manifest from what was built."""

import os
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from torch import nn

from mulo_sd.engines.bundle.contract import (
    TARGET_BRANCHED,
    cache_head_dim,
    condition_graph,
    down_sampler_graph,
    null_condition_file,
    slot_count,
    up_sampler_graph,
)
from mulo_sd.engines.bundle.entries import FileEntry, TensorEntry
from mulo_sd.engines.bundle.manifest import Manifest, PassesEntry, TransformerEntry
from mulo_sd.engines.bundle.open import sha256_of_file
from mulo_sd.engines.parts import MAX_NODES
from mulo_sd.export.graphs.transformer import example_condition
from mulo_sd.export.own_bundle import BuildError
from mulo_sd.reference.largest_error import check_finite_numbers
from mulo_sd.reference.models import Models
from mulo_sd.reference.transformer import Transformer, TransformerConfig
from mulo_sd.reference.weights import weights_sha256

_TENSOR_TYPES = {
    onnx.TensorProto.INT64: "int64",
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.FLOAT16: "float16",
    onnx.TensorProto.BFLOAT16: "bfloat16",
}
EPOCH = "SOURCE_DATE_EPOCH"  # as reproducible-builds.org defines it
_TOOLS = ("mulo-sd", "torch", "onnx", "onnxscript", "onnxruntime", "tensorrt-rtx", "tensorrt", "numpy")


def reproducible_date() -> datetime | None:
    """Return the date of SOURCE_DATE_EPOCH, which makes two builds equal; None where it is not set.

    Raises:
        BuildError: it is no number of seconds.
    """
    text = os.environ.get(EPOCH)
    if not text:
        return None
    try:
        seconds = int(text)
        if seconds < 0:
            raise ValueError
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        raise BuildError(f"{EPOCH}: expected seconds since 1970, got {text!r:.40}; correct or unset it") from None


def file_entry(folder: Path, file: Path) -> FileEntry:
    """Describe a file below a bundle's folder."""
    return FileEntry(
        path=file.relative_to(folder).as_posix(), sha256=sha256_of_file(file), size_bytes=file.stat().st_size
    )


def tensor_entries(values: Any) -> tuple[TensorEntry, ...]:
    """Describe a graph's inputs or outputs."""
    entries = []
    for value in values:
        tensor = value.type.tensor_type
        shape = tuple(dim.dim_param or int(dim.dim_value) for dim in tensor.shape.dim)
        entries.append(
            TensorEntry.model_validate({"name": value.name, "dtype": _TENSOR_TYPES[tensor.elem_type], "shape": shape})
        )
    return tuple(entries)


def write_null_condition(folder: Path, name: str, model: Transformer) -> FileEntry | None:
    """Write a model's own null condition, if it has one, into the bundle and describe the file."""
    null = model.null_condition()
    if null is None:
        return None
    path = folder / null_condition_file(name)
    check_finite_numbers(null, f"null condition of the {name}")
    np.save(path, (null.float() if null.is_floating_point() else null).numpy(), allow_pickle=False)
    return file_entry(folder, path)


def passes_entry(graph: str, config: TransformerConfig, module: nn.Module, nodes: int = 0) -> PassesEntry:
    """Describe what makes passes over a cache.

    Args:
        graph: Its name.
        config: Of the module.
        module: In float32.
        nodes: Of a tree, that its cache has room for.
    """
    return PassesEntry(
        graph=graph,
        grid_height=config.grid_height,
        grid_width=config.grid_width,
        vocabulary=config.vocabulary,
        prefix_length=config.prefix_length,
        layers=config.layers,
        heads=config.heads,
        head_dim=cache_head_dim(config.head_dim),
        dim=config.dim,
        slots=slot_count(config, nodes),
        weights_sha256=weights_sha256(module),
    )


def transformer_entry(folder: Path, name: str, model: Transformer, fields: int) -> TransformerEntry:
    """Describe target, drafter or block drafter, in float32; its null condition is written into the bundle."""
    config = model.config
    return TransformerEntry(
        **dict(passes_entry(name, config, model)),
        condition_graph=condition_graph(name),
        condition=config.condition,
        condition_width=example_condition(model, fields).shape[1],
        condition_ids=0 if config.condition_width else config.prefix_vocabulary,
        null_condition=write_null_condition(folder, name, model),
    )


def branched_entry(target: TransformerEntry) -> TransformerEntry:
    """Describe the target's graph with branches: everything but its name and its slots is the target's."""
    return target.model_copy(update={"graph": TARGET_BRANCHED, "slots": target.slots + MAX_NODES})


def latent_hashes(models: Models) -> dict[str, str]:
    """Return the hashes of the latent up- and down-samplers by their graphs' names."""
    named = {up_sampler_graph(ratio, "latent"): module for ratio, module in models.latent_up_samplers.items()}
    down = {down_sampler_graph(ratio, "latent"): module for ratio, module in models.latent_down_samplers.items()}
    return {name: weights_sha256(module) for name, module in (named | down).items()}


def tool_versions() -> dict[str, str]:
    """Return the versions of what built the bundle, as far as installed."""
    versions = {}
    for name in _TOOLS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def without_measurements(manifest: Manifest) -> Manifest:
    """Return a manifest without what one build measures otherwise than the next: seconds and peaks of memory."""
    graphs = {}
    for name, graph in manifest.graphs.items():
        plans = tuple(plan.model_copy(update={"build_seconds": 0.0}) for plan in graph.plans)
        graphs[name] = graph.model_copy(update={"build_seconds": 0.0, "peak_bytes": 0, "plans": plans})
    return manifest.model_copy(update={"graphs": graphs})
