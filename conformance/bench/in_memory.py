"""A bundle without files: models of any size, on the device where they were made, and what a pipeline asks of them."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mulo_sd.engines.backends.torch_cuda.backend import TorchBackend
from mulo_sd.engines.bundle import Bundle
from mulo_sd.engines.bundle.contract import Family, Precision, cache_head_dim, condition_graph, model_names
from mulo_sd.engines.bundle.manifest import SCHEMA_VERSION, Manifest
from mulo_sd.reference.codebook import neighbours
from mulo_sd.reference.models import Models
from mulo_sd.reference.transformer import Transformer

PRECISIONS: dict[torch.dtype, Precision] = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}
UNKNOWN = "0" * 64


def _entry(name: str, model: Transformer, slots: int) -> dict[str, Any]:
    config = model.config
    return {
        "graph": name,
        "condition_graph": condition_graph(name),
        "grid_height": config.grid_height,
        "grid_width": config.grid_width,
        "vocabulary": config.vocabulary,
        "prefix_length": config.prefix_length,
        "condition": config.condition,
        "condition_width": config.condition_width or 1,
        "condition_ids": 0 if config.condition_width else config.prefix_vocabulary,
        "layers": config.layers,
        "heads": config.heads,
        "head_dim": cache_head_dim(config.head_dim),
        "dim": config.dim,
        "slots": slots,
        "weights_sha256": UNKNOWN,
    }


def _null_condition(model: Transformer) -> NDArray[Any] | None:
    null = model.null_condition()
    if null is None:
        return None
    null = null.detach().cpu()
    array: NDArray[Any] = (null.float() if null.is_floating_point() else null).numpy()
    return array


@torch.inference_mode()
def bundle_of(
    models: Models,
    family: Family,
    precision: Precision,
    slots: Mapping[str, int],
    graphs: Iterable[str],
    nearest: Callable[[Tensor], Tensor],
    name: str = "in memory",
    settings: Mapping[str, Any] | None = None,
) -> Bundle:
    """Return a bundle that holds the sizes of models, their codes and null conditions, and no file.

    Args:
        models: Published families' (a class, a caption or features), trained or not.
        family: Whose models they are: "llamagen" or "tar".
        precision: Of what runs them.
        slots: Of each transformer's cache, by graph.
        graphs: What runs without a cache.
        nearest: Finds the neighbours of every code, Int[V, k], of a normalised codebook, Float32[V, d].
        name: What the bundle calls itself.
        settings: Its decode settings; None takes the defaults.
    """
    nothing = {"path": "nothing", "sha256": UNKNOWN, "size_bytes": 0}
    numbers: dict[str, float] = {"build_seconds": 0, "measured_error": 0, "tolerance": 0}
    graph: dict[str, Any] = {"onnx": nothing, "inputs": (), "outputs": (), "dynamic": {}, "error_of": "nothing"}
    codebook = F.normalize(models.tokenizer.codebook.detach().float(), dim=-1)
    table: NDArray[np.int64] = np.ascontiguousarray(nearest(codebook).cpu().numpy())
    names = model_names(len(models.drafters))
    manifest = Manifest.model_validate(
        {
            "schema_version": SCHEMA_VERSION,
            "name": name,
            "family": family,
            "precision": precision,
            "created": "",
            "tools": {},
            "settings": dict(settings or {}),
            "token_pixels": models.tokenizer.config.factor,
            "models": [_entry(one, models.transformer(number), slots[one]) for number, one in enumerate(names)],
            "tokenizer_sha256": UNKNOWN,
            "graphs": dict.fromkeys(graphs, graph | numbers),
            "neighbours": nothing,
            "codes": nothing,
            "code_dim": codebook.shape[1],
            "max_neighbours": table.shape[1],
        }
    )
    nulls = tuple(_null_condition(models.transformer(number)) for number in range(len(names)))
    return Bundle(Path(name), manifest, table, codebook.cpu().numpy(), nulls)


def bundle_in_memory(models: Models, backend: TorchBackend, family: Family, max_neighbours: int = 64) -> Bundle:
    """Return the bundle of models and a backend made for them.

    Its pipeline takes conditions in numbers: `Pipeline(bundle, backend).generate(Condition(...))`.

    Args:
        models: As for `bundle_of`.
        backend: Made for them.
        family: Whose models they are: "llamagen" or "tar".
        max_neighbours: Of every code.
    """
    precision = PRECISIONS[backend.dtype]
    return bundle_of(
        models, family, precision, backend.slots, backend.graphs, lambda codebook: neighbours(codebook, max_neighbours)
    )
