"""An engine without engines: the modules that become a bundle's graphs, run in torch, so that nothing is exported."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mulo_sd.engines.backends.base import Backend, Fed, KVCache, Tensors, Traits
from mulo_sd.engines.bundle import Bundle, Manifest
from mulo_sd.engines.bundle.contract import (
    BLOCK,
    HEAD,
    TARGET_BRANCHED,
    is_cache,
    model_names,
    updated_cache,
)
from mulo_sd.engines.bundle.open import read_null_condition
from mulo_sd.engines.parts import MAX_NODES
from mulo_sd.export.graphs.listing import specifications
from mulo_sd.export.manifest import branched_entry, passes_entry, transformer_entry
from mulo_sd.reference.checkpoints.ta_tok import TATokDecoder
from mulo_sd.reference.codebook import neighbours
from mulo_sd.reference.models import Models


@dataclass
class TorchCache:
    """Keys and values by input name."""

    batch: int
    tensors: dict[str, torch.Tensor]


class TorchBackend(Backend):
    """Runs the graphs of models in torch."""

    name, traits = "torch", Traits(branches=True)

    def __init__(self, models: Models, fields: int, ta_tok: TATokDecoder | None = None) -> None:
        listed = specifications(models, torch.float32, fields, all_filters=True, ta_tok=ta_tok, branched=True)
        self.graphs = {item.name: item for item in listed}
        self.models = dict(zip(model_names(len(models.drafters)), (models.target, *models.drafters), strict=True))

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Run a stateless graph."""
        tensors = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in inputs.items()}
        return {name: value.numpy() for name, value in self.graphs[graph].run(tensors).items()}

    def new_cache(self, graph: str, batch: int) -> TorchCache:
        """Return zeroed keys and values."""
        names = [name for name in self.graphs[graph].input_names if is_cache(name)]
        shape = self.graphs[graph].example["caches"][0].shape[1:]
        return TorchCache(batch, {name: torch.zeros(batch, *shape) for name in names})

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> NDArray[np.float32]:
        """Run one pass."""
        return self._outputs(graph, cache, inputs)["logits"]

    def feed_with_hidden(self, graph: str, cache: KVCache, inputs: Tensors) -> Fed:
        """Run one pass of a graph with branches."""
        outputs = self._outputs(graph, cache, inputs)
        return Fed(outputs["logits"], outputs["hidden"])

    def _outputs(self, graph: str, cache: KVCache, inputs: Tensors) -> dict[str, NDArray[np.float32]]:
        assert isinstance(cache, TorchCache)
        tensors = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in inputs.items()}
        outputs = self.graphs[graph].run(tensors | cache.tensors)
        cache.tensors = {name: outputs[updated_cache(name)] for name in cache.tensors}
        return {name: outputs[name].numpy() for name in ("logits", "hidden") if name in outputs}

    def keep_slots(self, graph: str, cache: KVCache, slots: NDArray[np.int64]) -> None:
        """Move slots to the front."""
        assert isinstance(cache, TorchCache)
        for name, value in cache.tensors.items():
            moved = value.clone()
            moved[:, :, : len(slots)] = value[:, :, slots]
            cache.tensors[name] = moved


def bundle_in_memory(
    models: Models,
    folder: Path,
    fields: int,
    max_neighbours: int,
    family: str = "demo",
    ta_tok: TATokDecoder | None = None,
) -> Bundle:
    """Return a bundle that holds the sizes of models, their codes and their null conditions, and no graphs.

    Args:
        models: Untrained ones do.
        folder: Where null conditions are written.
        fields: Ids a prefix token, of models that take fields.
        max_neighbours: Of every code.
        family: Whose models they are.
        ta_tok: Of Tar's.
    """
    nothing = {"path": "nothing", "sha256": "0" * 64, "size_bytes": 0}
    names = model_names(len(models.drafters))
    listed = [
        item.name
        for item in specifications(models, torch.float32, fields, all_filters=True, ta_tok=ta_tok, branched=True)
    ]
    graph: dict[str, Any] = {
        "inputs": (),
        "outputs": (),
        "dynamic": {},
        "build_seconds": 0,
        "measured_error": 0,
        "tolerance": 0,
    }
    graph["error_of"] = "nothing"
    with_caches = (*names, TARGET_BRANCHED, HEAD, BLOCK)
    entries = [transformer_entry(folder, name, models.transformer(number), fields) for number, name in enumerate(names)]
    block = None if models.block is None else transformer_entry(folder, BLOCK, models.block, fields)
    codebook = torch.nn.functional.normalize(models.tokenizer.codebook.detach(), dim=-1)
    manifest = Manifest.model_validate(
        {
            "schema_version": 4,
            "name": "toy",
            "family": family,
            "precision": "fp32",
            "created": "",
            "tools": {},
            "settings": {},
            "token_pixels": models.tokenizer.config.factor,
            "models": [entry.model_dump() for entry in entries],
            "branched": branched_entry(entries[0]).model_dump(),
            "head": None if models.head is None else passes_entry(HEAD, models.head.config, models.head, MAX_NODES),
            "block": None if block is None else block.model_dump(),
            "tokenizer_sha256": "0" * 64,
            "graphs": {name: graph | {"onnx": nothing} for name in listed if name not in with_caches},
            "neighbours": nothing,
            "codes": nothing,
            "code_dim": codebook.shape[1],
            "max_neighbours": max_neighbours,
            "prompt_grammar": nothing if family == "demo" else None,
            "semantic_ids": ta_tok.config.codes if ta_tok else 0,
        }
    )
    nulls = tuple(read_null_condition(folder, entry) for entry in entries)
    block_null = None if block is None else read_null_condition(folder, block)
    table = neighbours(codebook, max_neighbours).numpy()
    return Bundle(folder, manifest, table, codebook.numpy(), nulls, block_null)
