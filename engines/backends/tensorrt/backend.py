"""TensorRT, for RTX and proper: runs a bundle's plans on an NVIDIA GPU, where keys and values stay."""

import math
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.backends.base import Backend, BackendError, CachePool, KVCache, Tensors, Traits
from mulo_sd.engines.backends.caches import CacheTensor, cache_tensors
from mulo_sd.engines.backends.readiness import check_plans, plans_of
from mulo_sd.engines.backends.tensorrt.cuda import ALIGNMENT, Cuda, DeviceBuffer
from mulo_sd.engines.backends.tensorrt.leases import Lease
from mulo_sd.engines.backends.tensorrt.plans import Placed, Plans
from mulo_sd.engines.backends.tensorrt.runtime import Runtime
from mulo_sd.engines.backends.tensorrt.scores import FLOAT_BYTES, Sampling, TensorRTScores
from mulo_sd.engines.backends.tensorrt.slot_runs import SlotRun, slot_runs
from mulo_sd.engines.bundle import Bundle
from mulo_sd.engines.bundle.contract import HIDDEN
from mulo_sd.engines.bundle.manifest import MANIFEST_NAME
from mulo_sd.engines.bundle.open import sha256_of_file


class Resident(NamedTuple):
    """Keys or values of one layer, and the address at which they stay."""

    tensor: CacheTensor
    address: int


class TensorRTPool(CachePool):
    """Keys and values on the device, [rows, heads, slots, head_dim] each; freed with the object and its rows."""

    def __init__(self, cuda: Cuda, lock: threading.Lock, tensors: Sequence[CacheTensor]) -> None:
        """Make an empty pool of as many rows as the tensors have; the lock is free.

        Unwritten slots are zeros: attention gives them the weight 0, and 0 times what was left there may be NaN.
        """
        self.cuda, self.lock, self.tensors = cuda, lock, tensors
        with lock:
            cuda.use()
            self.buffers = [DeviceBuffer(cuda, tensor.bytes, "caches") for tensor in tensors]
            for buffer in self.buffers:
                cuda.clear(buffer.address, buffer.size_bytes)
            cuda.synchronise()

    def rows(self, first_row: int, count: int) -> "TensorRTCache":
        """Return some of the rows as a cache of their own."""
        return TensorRTCache(self, first_row, count)

    def clear(self, first_row: int, count: int) -> None:
        """Set some of the rows to zeros."""
        with self.lock:
            self.cuda.use()
            for tensor, address in self.rows(first_row, count).tensors.values():
                self.cuda.clear(address, tensor.bytes)


class TensorRTCache(KVCache):
    """Rows of a pool; of a decode that runs alone all of them.

    Attributes:
        tensors: Keys and values by input name.
        logits: Of its last pass.
    """

    def __init__(self, pool: TensorRTPool, first_row: int, batch: int) -> None:
        """Take rows."""
        self.pool, self.batch = pool, batch
        self.tensors: dict[str, Resident] = {}
        for tensor, buffer in zip(pool.tensors, pool.buffers, strict=True):
            own = tensor._replace(shape=(batch, *tensor.shape[1:]))
            self.tensors[tensor.name] = Resident(own, buffer.address + first_row * tensor.row_bytes)
        self.logits: Lease | None = None


class TensorRTBackend(Backend):
    """Runs a bundle's plans, one pass at a time: there is one stream, and one memory for what plans compute.

    Logits stay on the device. Where the plans were built for the rows of several decodes, these share passes
    (`Traits.pools`).
    """

    def __init__(self, bundle: Bundle, name: str) -> None:
        """Start the runtime; a plan is loaded when its graph is first used.

        Args:
            bundle: Opened and checked.
            name: "trt-rtx" or "trt".

        Raises:
            BackendError: the runtime is not installed, there is no NVIDIA GPU, or the bundle has no plans for it that
                run here.
        """
        self.bundle, self.name = bundle, name
        self.runtime = Runtime(name, sha256_of_file(bundle.path / MANIFEST_NAME)[:16])
        check_plans(name, bundle, self.runtime.host())
        self.entries = plans_of(name, bundle)
        self.vocabulary = {entry.graph: entry.vocabulary for entry in bundle.manifest.with_caches}
        self.lock = threading.Lock()
        self.plans = Plans(self.runtime, bundle, self.entries)
        self.sampling = Sampling(self.runtime.cuda, self.lock, self.plans.of)
        shares = all(self._shares(graph) for graph in self.vocabulary)
        self.traits = Traits(scores=True, pools=shares, branches=True)
        self.notes = self.runtime.notes

    def _shares(self, graph: str) -> bool:
        """Whether a transformer takes rows of several decodes, and rows of its cache begin where TensorRT may read."""
        profiles = self.entries[graph].profiles
        most = max((ranges["batch"][-1] for ranges in profiles if "batch" in ranges), default=0)
        tensors = cache_tensors(self.bundle.manifest.graphs[graph], 1)
        return most > 2 and all(tensor.row_bytes % ALIGNMENT == 0 for tensor in tensors)

    def takes_shared(self, graph: str, rows: int, tokens: int) -> bool:
        """Whether one of a plan's profiles holds so many rows of so many tokens."""
        return any(
            ranges.get("batch", (1, 1, 1))[-1] >= rows and ranges.get("fed", (1, 1, 1))[-1] >= tokens
            for ranges in self.entries[graph].profiles
        )

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Run a stateless graph."""
        with self.lock:
            self.runtime.cuda.use()
            return self.plans.of(graph).execute(inputs)

    def new_cache(self, graph: str, batch: int) -> TensorRTCache:
        """Return zeroed keys and values."""
        return self.new_pool(graph, batch).rows(0, batch)

    def new_pool(self, graph: str, rows: int) -> TensorRTPool:
        """Return zeroed keys and values of which decodes take rows."""
        return TensorRTPool(self.runtime.cuda, self.lock, cache_tensors(self.bundle.manifest.graphs[graph], rows))

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> NDArray[np.float32]:
        """Run one pass; every key and value has one buffer, input and output of the plan, which updates it in place."""
        return self.score(graph, cache, inputs).logits()

    def score(self, graph: str, cache: KVCache, inputs: Tensors) -> TensorRTScores:
        """Run one pass as `feed` does; its logits stay on the device until the cache has its next pass.

        Raises:
            BackendError: it would write beyond the last slot, the plan was not built for so many rows or tokens, or
                CUDA or TensorRT report a failure; some of what fails on the device is reported by the next call.
        """
        assert isinstance(cache, TensorRTCache)
        batch, fed = inputs["tokens"].shape
        end = int(inputs["write_index"].max()) + fed
        slots = inputs["slot_ranks"].shape[1]
        if end > slots:  # the GPU would write over whatever lies behind
            raise BackendError(f"graph {graph}: expected writes into {slots} slots, got one that ends at {end}")
        pitch = fed * self.vocabulary[graph] * FLOAT_BYTES
        with self.lock:
            self.runtime.cuda.use()
            plan = self.plans.of(graph)
            plan.profile((("tokens", (batch, fed)),))  # before anything as large as a refused pass is made
            if cache.logits is None or cache.logits.buffer.size_bytes < batch * pitch:
                cache.logits = None  # given back first: it may be the one that is lent again, grown
                cache.logits = self.sampling.leases.take(batch * pitch)
            lease = cache.logits
            placed = {name: Placed(tensor.shape, address) for name, (tensor, address) in cache.tensors.items()}
            # Hidden states, of graphs that give them, come to the host: the head's inputs go from there.
            others = plan.execute({**inputs, **placed}, {"logits": lease.buffer.address})
        return TensorRTScores(
            self.sampling,
            lease,
            lease.buffer.address,
            pitch,
            batch,
            fed,
            self.vocabulary[graph],
            others.get(HIDDEN),
        )

    def memory(self) -> dict[str, int]:
        """Return the bytes of device memory by what it holds: weights, activations, caches, logits and scratch.

        Weights are those of the plans that are loaded, as TensorRT tells them; what the runtimes take for their code
        and for themselves is not counted.
        """
        by_purpose = {"weights": 0, "activations": 0, "caches": 0, "logits": 0, "scratch": 0}
        by_purpose["weights"] = sum(plan.weight_bytes for plan in list(self.plans.loaded.values()))
        for purpose, size_bytes in list(self.runtime.cuda.live.values()):
            by_purpose[purpose] += size_bytes
        return by_purpose

    def keep_slots(self, graph: str, cache: KVCache, slots: NDArray[np.int64]) -> None:
        """Move slots to the front, on the device."""
        assert isinstance(cache, TensorRTCache)
        moving = [run for run in slot_runs(slots) if run.source != run.destination]
        if not moving:
            return
        count = sum(run.length for run in moving)
        largest = max(math.prod(tensor.shape[:2]) * tensor.slot_bytes for tensor, _ in cache.tensors.values())
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
        tensor, address = resident
        batch, heads, slots, _ = tensor.shape
        last = moving[-1].source + moving[-1].length - 1
        if last >= slots:
            raise ValueError(f"slots: expected numbers below {slots}, got {last}")
        size, rows, first = tensor.slot_bytes, batch * heads, moving[0].destination
        pitch, packed = slots * size, sum(run.length for run in moving) * size
        copy_rows = self.runtime.cuda.copy_rows
        for run in moving:
            target = scratch.address + (run.destination - first) * size
            copy_rows(target, packed, address + run.source * size, pitch, run.length * size, rows)
        copy_rows(address + first * size, pitch, scratch.address, packed, packed, rows)
