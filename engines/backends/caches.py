"""What a transformer's cache consists of, as the manifest describes it."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from mulo_sd.engines.backends.base import BackendError
from mulo_sd.engines.bundle.contract import HIDDEN
from mulo_sd.engines.bundle.entries import GraphEntry
from mulo_sd.engines.bundle.manifest import Manifest, PassesEntry

# The manifest's types that numpy has; bfloat16 it has not.
NUMPY_DTYPES: Mapping[str, type[np.generic]] = {"int64": np.int64, "float32": np.float32, "float16": np.float16}

# Keys and values are counted in bytes, bfloat16 too.
ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}

# Rows of a decode with guidance.
GUIDED_ROWS = 2

# Inputs of a pass that have a number for each slot, Int64[B, C].
OF_SLOTS = ("slot_ranks", "slot_branches")


class CacheTensor(NamedTuple):
    """The keys, or the values, of one layer: input `name`, which the graph returns updated as `new_<name>`."""

    name: str
    shape: tuple[int, int, int, int]  # B, heads, slots, head_dim
    dtype: str

    @property
    def slot_bytes(self) -> int:
        """The size of one slot of one head."""
        return self.shape[3] * ITEM_BYTES[self.dtype]

    @property
    def row_bytes(self) -> int:
        """The size of one row of the batch."""
        return math.prod(self.shape[1:3]) * self.slot_bytes

    @property
    def bytes(self) -> int:
        """Its size."""
        return self.shape[0] * self.row_bytes


def cache_tensors(graph: GraphEntry, batch: int) -> list[CacheTensor]:
    """Return what a transformer's cache for `batch` rows consists of, with all its slots.

    Raises:
        BackendError: the manifest describes keys or values of another shape.
    """
    tensors = []
    for entry in graph.cache_inputs:
        match entry.shape:
            case (_, int(heads), "slots", int(head_dim)):
                slots = graph.dynamic["slots"][-1]
                tensors.append(CacheTensor(entry.name, (batch, heads, slots, head_dim), entry.dtype))
            case _:
                raise BackendError(f"{entry.name}: expected [batch, heads, slots, head_dim], got {entry.shape}")
    return tensors


def output_widths(manifest: Manifest, entry: PassesEntry) -> dict[str, int]:
    """Return what a pass of a graph gives beside its cache, Float32[B, T, width] each: logits, then hidden states."""
    graph = manifest.graphs[entry.graph]
    return {"logits": entry.vocabulary} | ({HIDDEN: entry.dim} if graph.has_hidden else {})
