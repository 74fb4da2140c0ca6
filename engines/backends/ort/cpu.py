"""ONNX Runtime on the CPU: caches are bound as input and output of the same memory."""

import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from mulo_sd.engines.backends.array_scores import ArrayScores
from mulo_sd.engines.backends.base import Backend, BackendError, CachePool, KVCache, Tensors, Traits, one_line
from mulo_sd.engines.backends.caches import (
    GUIDED_ROWS,
    NUMPY_DTYPES,
    OF_SLOTS,
    CacheTensor,
    cache_tensors,
    output_widths,
)
from mulo_sd.engines.backends.readiness import elsewhere, unsuited_precision
from mulo_sd.engines.bundle import Bundle
from mulo_sd.engines.bundle.contract import updated_cache


@contextmanager
def naming(graph: str) -> Iterator[None]:
    """Name the graph where ONNX Runtime cannot run it.

    Raises:
        BackendError: it cannot.
    """
    try:
        yield
    except Exception as error:  # onnxruntime raises classes of its own without a common base
        raise BackendError(f"graph {graph}: ONNX Runtime cannot run it: {one_line(error)}") from None


# Threads wait for the next operator of a pass by spinning for a moment, a third off a pass of one token; they
# stop when it ends, since they would starve whatever shares the machine, the next graph of this loop included.
SPINNING = {"intra_op.allow_spinning": "1", "intra_op.spin_duration_us": "100", "force_spinning_stop": "1"}
# Slots by which a cache grows: attention pays for every slot that is there, growing for every copy.
GROWTH = 128


def make_session(path: Path, threads: int | None, providers: Sequence[str]) -> onnxruntime.InferenceSession:
    """Return the session of a file.

    Raises:
        BackendError: ONNX Runtime does not accept the file.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    for name, value in SPINNING.items():
        options.add_session_config_entry(f"session.{name}", value)
    try:
        return onnxruntime.InferenceSession(path, sess_options=options, providers=list(providers))
    except Exception as error:  # onnxruntime raises classes of its own without a common base
        raise BackendError(f"{path}: ONNX Runtime does not accept it: {one_line(error)}") from None


class Pool(CachePool):
    """Keys and values by input name, [rows, heads, slots, head_dim] each, with room for little more than was fed."""

    def __init__(self, session: onnxruntime.InferenceSession, tensors: Sequence[CacheTensor]) -> None:
        """Make an empty pool of as many rows as the tensors have."""
        self.session, self.tensors = session, tensors
        self.most = tensors[0].shape[2]
        self.slots = 0
        self.arrays: dict[str, NDArray[Any]] = {}

    def make_room(self, slots: int) -> None:
        """Grow so that `slots` slots fit."""
        if slots <= self.slots:
            return
        size = min(-(-slots // GROWTH) * GROWTH, self.most)
        for name, (rows, heads, _, head_dim), dtype in self.tensors:
            grown = np.zeros((rows, heads, size, head_dim), dtype=NUMPY_DTYPES[dtype])
            if self.slots:
                grown[:, :, : self.slots] = self.arrays[name]
            self.arrays[name] = grown
        self.slots = size

    def rows(self, first_row: int, count: int) -> "OnnxRuntimeCache":
        """Return some of the rows as a cache of their own."""
        return OnnxRuntimeCache(self, first_row, count)

    def clear(self, first_row: int, count: int) -> None:
        """Set some of the rows to zeros."""
        for value in self.arrays.values():
            value[first_row : first_row + count] = 0


class OnnxRuntimeCache(KVCache):
    """Rows of a pool; of a decode that runs alone all of them.

    Keys and values are bound to the graph once, as inputs and outputs of the same memory, and again where the pool has
    grown; buffers of the other inputs are bound anew where a pass has another number of tokens.
    """

    def __init__(self, pool: Pool, first_row: int, batch: int) -> None:
        """Take rows."""
        self.pool, self.first_row, self.batch = pool, first_row, batch
        self.binding = pool.session.io_binding()
        self.lock = threading.Lock()  # a cache is one decode's; with two, its numbers may be wrong, but not its memory
        self.inputs: dict[str, NDArray[Any]] = {}
        self.bound_slots = 0

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Keys and values by input name, [batch, heads, slots, head_dim] each."""
        rows = slice(self.first_row, self.first_row + self.batch)
        return {name: value[rows] for name, value in self.pool.arrays.items()}

    def make_room(self, slots: int) -> None:
        """Grow so that `slots` slots fit."""
        self.pool.make_room(slots)
        if self.bound_slots == self.pool.slots:
            return
        for name, value in self.arrays.items():
            memory = ("cpu", 0, value.dtype, value.shape, value.ctypes.data)
            self.binding.bind_input(name, *memory)
            self.binding.bind_output(updated_cache(name), *memory)
        self.bound_slots = self.pool.slots

    def put(self, name: str, value: NDArray[Any]) -> None:
        """Give the graph an input."""
        buffer = self.inputs.get(name)
        if buffer is None or buffer.shape != value.shape:
            buffer = self.inputs[name] = np.empty(value.shape, dtype=value.dtype)
            self.binding.bind_input(name, "cpu", 0, buffer.dtype, buffer.shape, buffer.ctypes.data)
        buffer[...] = value


class OnnxRuntimeBackend(Backend):
    """Runs a bundle's ONNX files on ONNX Runtime's CPU provider."""

    name = "ort"
    traits = Traits(scores=True, scores_host_logits=True, pools=True, max_shared_tokens=4, branches=True)

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        """Remember the bundle; a session is made when its graph is first used.

        Raises:
            BackendError: the bundle is in bf16, which the CPU provider cannot multiply.
        """
        unsuited = unsuited_precision("ort", bundle.manifest.precision)
        if unsuited is not None:
            raise BackendError(f"backend ort: {unsuited}; {elsewhere(bundle)}")
        self.bundle, self.threads = bundle, threads
        self.sessions: dict[str, onnxruntime.InferenceSession] = {}
        self.pools: weakref.WeakSet[Pool] = weakref.WeakSet()
        self.lock = threading.Lock()
        self.widths = {entry.graph: output_widths(bundle.manifest, entry) for entry in bundle.manifest.with_caches}

    def session(self, graph: str) -> onnxruntime.InferenceSession:
        """Return the session of a graph, made on first use.

        Raises:
            BackendError: ONNX Runtime does not accept the file.
        """
        if graph in self.sessions:  # nobody waits while another graph is loaded
            return self.sessions[graph]
        with self.lock:  # two threads that made one each would bind to different ones
            if graph not in self.sessions:
                path = self.bundle.file(self.bundle.manifest.graphs[graph].onnx)
                self.sessions[graph] = make_session(path, self.threads, ("CPUExecutionProvider",))
            return self.sessions[graph]

    def memory(self) -> dict[str, int]:
        """Return the bytes of keys and values; what ONNX Runtime takes for itself is not counted."""
        return {"caches": sum(value.nbytes for pool in list(self.pools) for value in list(pool.arrays.values()))}

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Run a stateless graph."""
        session = self.session(graph)
        names = [output.name for output in session.get_outputs()]
        with naming(graph):
            return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    def new_cache(self, graph: str, batch: int) -> OnnxRuntimeCache:
        """Return an empty cache."""
        return self.new_pool(graph, batch).rows(0, batch)

    def new_pool(self, graph: str, rows: int) -> Pool:
        """Return empty keys and values of which decodes take rows."""
        pool = Pool(self.session(graph), cache_tensors(self.bundle.manifest.graphs[graph], rows))
        self.pools.add(pool)
        return pool

    def gains_by_sharing(self, graph: str) -> bool:
        """Whether a pass reads more weights than keys and values.

        A shared pass reads weights once for all decodes. But it drives out of the processor's cache the keys and values
        of each, which a decode in its turn finds there; and in a pool all attend to as many slots as the longest.
        """
        entry = self.bundle.manifest.graphs[graph]
        return entry.onnx.size_bytes >= sum(tensor.bytes for tensor in cache_tensors(entry, GUIDED_ROWS))

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> NDArray[np.float32]:
        """Run one pass; return its logits."""
        return self.score(graph, cache, inputs).all

    def score(self, graph: str, cache: KVCache, inputs: Tensors) -> ArrayScores:
        """Run one pass in place; attention goes over the slots that are filled, and a few more.

        Its logits lie in the host's memory, where numpy samples and judges.

        Raises:
            BackendError: ONNX Runtime cannot run it, or it would write beyond the last slot.
        """
        assert isinstance(cache, OnnxRuntimeCache)
        batch, fed = inputs["tokens"].shape
        end = int(inputs["write_index"].max()) + fed
        if end > cache.pool.most:
            raise BackendError(
                f"graph {graph}: expected writes into {cache.pool.most} slots, got one that ends at {end}"
            )
        outputs = {name: np.empty((batch, fed, width), dtype=np.float32) for name, width in self.widths[graph].items()}
        with cache.lock, naming(graph):
            cache.make_room(end)
            for name, value in inputs.items():
                cache.put(name, value[:, : cache.pool.slots] if name in OF_SLOTS else value)
            for name, value in outputs.items():
                cache.binding.bind_output(name, "cpu", 0, value.dtype, value.shape, value.ctypes.data)
            self.sessions[graph].run_with_iobinding(cache.binding)
        return ArrayScores(*outputs.values())

    def scores_of(self, logits: NDArray[np.float32]) -> ArrayScores:
        """Return the scores of given logits."""
        return ArrayScores(logits)

    def keep_slots(self, graph: str, cache: KVCache, slots: NDArray[np.int64]) -> None:
        """Move slots to the front."""
        assert isinstance(cache, OnnxRuntimeCache)
        for value in cache.arrays.values():
            value[:, :, : len(slots)] = value[:, :, slots]
