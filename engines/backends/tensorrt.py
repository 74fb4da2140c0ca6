"""TensorRT, for RTX and proper: runs a bundle's plans on an NVIDIA GPU, where keys and values stay."""

import math
import threading
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engines.backends.base import BackendError, CacheTensor, KVCache, Tensors, cache_tensors
from engines.backends.cuda import DeviceBuffer
from engines.backends.tensorrt_plans import LoadedPlan, Resident, Runtime
from engines.bundle import Bundle
from engines.bundle.manifest import MANIFEST_NAME

# Keys and values are counted in bytes: numpy has no bfloat16.
ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


class SlotRun(NamedTuple):
    """Consecutive slots, `length` from `source` on, that move to `destination` and on."""

    source: int
    destination: int
    length: int


def slot_runs(slots: NDArray[np.int64]) -> list[SlotRun]:
    """Merge the slots to keep into runs, in order; no destination lies after its source.

    Raises:
        ValueError: the slots are negative or not ascending.
    """
    if len(slots) == 0:
        return []
    steps = np.diff(slots)
    if slots[0] < 0 or (steps < 1).any():
        raise ValueError(f"slots: expected ascending numbers, 0 or larger, got {slots.tolist()}")
    starts = [0, *(np.flatnonzero(steps > 1) + 1).tolist()]
    ends = [*starts[1:], len(slots)]
    return [SlotRun(int(slots[start]), start, end - start) for start, end in zip(starts, ends, strict=True)]


def slot_bytes(tensor: CacheTensor) -> int:
    """Return the size of one slot of one head."""
    return tensor.shape[3] * ITEM_BYTES[tensor.dtype]


def cache_bytes(tensor: CacheTensor) -> int:
    """Return the size of the keys or values of one layer."""
    return math.prod(tensor.shape[:3]) * slot_bytes(tensor)


@dataclass
class TensorRTCache:
    """Keys and values on the device by input name, [B, heads, slots, head_dim] each; freed with the object."""

    batch: int
    tensors: dict[str, Resident]


class TensorRTBackend:
    """Runs a bundle's plans, one pass at a time: an execution context is not reentrant."""

    def __init__(self, bundle: Bundle, name: str) -> None:
        """Start the runtime; a plan is loaded when its graph is first used.

        Args:
            bundle: Opened and checked.
            name: "trt-rtx" or "trt".

        Raises:
            BackendError: the runtime is not installed, there is no NVIDIA GPU, or the bundle has no plans for it.
        """
        self.bundle, self.name = bundle, name
        self.runtime = Runtime(name)
        graphs = bundle.manifest.graphs
        self.entries = {graph: plan for graph, entry in graphs.items() for plan in entry.plans if plan.backend == name}
        missing = sorted(graphs.keys() - self.entries.keys())
        if missing:
            raise BackendError(
                f"{bundle.path / MANIFEST_NAME}: no {name} plan of {', '.join(missing)}; build the bundle again with "
                f"`python -m export.build --backend {name} --force --precision {bundle.manifest.precision}`"
            )
        self.plans: dict[str, LoadedPlan] = {}
        self.lock = threading.Lock()

    def _execute(self, graph: str, inputs: Tensors, cache: dict[str, Resident]) -> dict[str, NDArray[Any]]:
        with self.lock:
            self.runtime.cuda.use()
            if graph not in self.plans:
                plan, entry = self.entries[graph], self.bundle.manifest.graphs[graph]
                self.plans[graph] = LoadedPlan(self.runtime, graph, entry, plan, self.bundle.file(plan.file))
            return self.plans[graph].execute(inputs, cache)

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Run a stateless graph."""
        return self._execute(graph, inputs, {})

    def new_cache(self, graph: str, batch: int) -> TensorRTCache:
        """Return zeroed keys and values.

        Unwritten slots count too: attention gives them the weight 0, and 0 times what was left there may be NaN.
        """
        cuda, tensors = self.runtime.cuda, {}
        with self.lock:
            cuda.use()
            for tensor in cache_tensors(self.bundle.manifest.graphs[graph], batch):
                buffer = DeviceBuffer(cuda, cache_bytes(tensor))
                cuda.clear(buffer.address, buffer.size_bytes)
                tensors[tensor.name] = Resident(tensor, buffer)
            cuda.synchronise()
        return TensorRTCache(batch, tensors)

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> NDArray[np.float32]:
        """Run one pass; every key and value has one buffer, input and output of the plan, which updates it in place."""
        assert isinstance(cache, TensorRTCache)
        end = int(inputs["write_index"].max()) + inputs["tokens"].shape[1]
        slots = inputs["slot_ranks"].shape[1]
        if end > slots:  # the GPU would write over whatever lies behind
            raise BackendError(f"graph {graph}: expected writes into {slots} slots, got one that ends at {end}")
        logits: NDArray[np.float32] = self._execute(graph, inputs, cache.tensors)["logits"]
        return logits

    def keep_slots(self, graph: str, cache: KVCache, slots: NDArray[np.int64]) -> None:
        """Move slots to the front, on the device."""
        assert isinstance(cache, TensorRTCache)
        moving = [run for run in slot_runs(slots) if run.source != run.destination]
        if not moving:
            return
        count = sum(run.length for run in moving)
        largest = max(math.prod(tensor.shape[:2]) * slot_bytes(tensor) for tensor, _ in cache.tensors.values())
        with self.lock:
            self.runtime.cuda.use()
            with DeviceBuffer(self.runtime.cuda, largest * count) as scratch:
                for resident in cache.tensors.values():
                    self._compact(resident, moving, scratch)
                self.runtime.cuda.synchronise()

    def _compact(self, resident: Resident, moving: list[SlotRun], scratch: DeviceBuffer) -> None:
        """Gather runs in `scratch` and put them back as one, since a run may overlap the place it moves to.

        Destinations follow one another without a gap: where one run moves, all after it do.
        """
        tensor, buffer = resident
        batch, heads, slots, _ = tensor.shape
        last = moving[-1].source + moving[-1].length - 1
        if last >= slots:
            raise ValueError(f"slots: expected numbers below {slots}, got {last}")
        size, rows, first = slot_bytes(tensor), batch * heads, moving[0].destination
        pitch, packed = slots * size, sum(run.length for run in moving) * size
        copy_rows = self.runtime.cuda.copy_rows
        for run in moving:
            place = scratch.address + (run.destination - first) * size
            copy_rows(place, packed, buffer.address + run.source * size, pitch, run.length * size, rows)
        copy_rows(buffer.address + first * size, pitch, scratch.address, packed, packed, rows)
