"""An engine without engines: the modules that become a bundle's graphs, run in torch, so that nothing is exported."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mulo_sd.engines.backends.base import Backend, KVCache, Tensors
from mulo_sd.engines.bundle import Bundle, Manifest
from mulo_sd.engines.bundle.contract import cache_head_dim, is_cache, model_names, slot_count, updated_cache
from mulo_sd.engines.bundle.open import read_null_condition
from mulo_sd.export.graphs.listing import specifications
from mulo_sd.export.manifest import transformer_entry
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

    name = "torch"

    def __init__(self, models: Models, fields: int, ta_tok: TATokDecoder | None = None) -> None:
        listed = specifications(models, torch.float32, fields, all_filters=True, ta_tok=ta_tok)
        self.graphs = {item.name: item for item in listed}
        self.models = dict(zip(model_names(len(models.drafters)), (models.target, *models.drafters), strict=True))

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Run a stateless graph."""
        tensors = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in inputs.items()}
        return {name: value.numpy() for name, value in self.graphs[graph].run(tensors).items()}

    def new_cache(self, graph: str, batch: int) -> TorchCache:
        """Return zeroed keys and values."""
        config, slots = self.models[graph].config, slot_count(self.models[graph].config)
        names = [name for name in self.graphs[graph].input_names if is_cache(name)]
        return TorchCache(
            batch, {name: torch.zeros(batch, config.heads, slots, cache_head_dim(config.head_dim)) for name in names}
        )

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> NDArray[np.float32]:
        """Run one pass."""
        assert isinstance(cache, TorchCache)
        tensors = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in inputs.items()}
        outputs = self.graphs[graph].run(tensors | cache.tensors)
        cache.tensors = {name: outputs[updated_cache(name)] for name in cache.tensors}
        logits: NDArray[np.float32] = outputs["logits"].numpy()
        return logits

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
    listed = [item.name for item in specifications(models, torch.float32, fields, all_filters=True, ta_tok=ta_tok)]
    graph: dict[str, Any] = {
        "inputs": (),
        "outputs": (),
        "dynamic": {},
        "build_seconds": 0,
        "measured_error": 0,
        "tolerance": 0,
    }
    graph["error_of"] = "nothing"
    entries = [transformer_entry(folder, name, models.transformer(number), fields) for number, name in enumerate(names)]
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
            "tokenizer_sha256": "0" * 64,
            "graphs": {name: graph | {"onnx": nothing} for name in listed if name not in names},
            "neighbours": nothing,
            "codes": nothing,
            "code_dim": codebook.shape[1],
            "max_neighbours": max_neighbours,
            "prompt_grammar": nothing if family == "demo" else None,
            "semantic_ids": ta_tok.config.codes if ta_tok else 0,
        }
    )
    nulls = tuple(read_null_condition(folder, entry) for entry in entries)
    return Bundle(folder, manifest, neighbours(codebook, max_neighbours).numpy(), codebook.numpy(), nulls)
