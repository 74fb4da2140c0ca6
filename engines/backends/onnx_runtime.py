"""ONNX Runtime on the CPU: caches are bound as input and output of the same memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from engines.backends.base import NUMPY_DTYPES, BackendError, KVCache, Tensors, cache_tensors, one_line
from engines.bundle import Bundle


@contextmanager
def _told(graph: str) -> Iterator[None]:
    """Name the graph where ONNX Runtime cannot run it.

    Raises:
        BackendError: it cannot.
    """
    try:
        yield
    except Exception as error:  # onnxruntime raises classes of its own without a common base
        raise BackendError(f"graph {graph}: ONNX Runtime cannot run it: {one_line(error)}") from None


@dataclass
class OnnxRuntimeCache:
    """Keys and values by input name, [B, heads, slots, head_dim] each."""

    batch: int
    arrays: dict[str, NDArray[Any]]


class OnnxRuntimeBackend:
    """Runs a bundle's ONNX files on ONNX Runtime's CPU provider."""

    name = "ort"

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        """Remember the bundle; a session is made when its graph is first used.

        Raises:
            BackendError: the bundle is in bf16, which the CPU provider cannot multiply.
        """
        if bundle.manifest.precision == "bf16":
            raise BackendError(
                "backend ort: expected a bundle in fp32 or fp16, got bf16, which ONNX Runtime's CPU provider "
                "cannot run; use --backend trt-rtx on a GPU, or build another precision"
            )
        self.bundle, self.threads = bundle, threads
        self.sessions: dict[str, onnxruntime.InferenceSession] = {}

    def session(self, graph: str) -> onnxruntime.InferenceSession:
        """Return the session of a graph, made on first use.

        Raises:
            BackendError: ONNX Runtime does not accept the file.
        """
        if graph not in self.sessions:
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3
            if self.threads is not None:
                options.intra_op_num_threads = self.threads
            # Spinning threads starve whatever shares the machine, the next graph of this loop included.
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            path = self.bundle.file(self.bundle.manifest.graphs[graph].onnx)
            try:
                self.sessions[graph] = onnxruntime.InferenceSession(
                    path, sess_options=options, providers=["CPUExecutionProvider"]
                )
            except Exception as error:  # onnxruntime raises classes of its own without a common base
                raise BackendError(f"{path}: ONNX Runtime does not accept it: {one_line(error)}") from None
        return self.sessions[graph]

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Run a stateless graph."""
        session = self.session(graph)
        names = [output.name for output in session.get_outputs()]
        with _told(graph):
            return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    def new_cache(self, graph: str, batch: int) -> OnnxRuntimeCache:
        """Return zeroed keys and values."""
        tensors = cache_tensors(self.bundle.manifest.graphs[graph], batch)
        return OnnxRuntimeCache(
            batch, {tensor.name: np.zeros(tensor.shape, dtype=NUMPY_DTYPES[tensor.dtype]) for tensor in tensors}
        )

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> NDArray[np.float32]:
        """Run one pass in place."""
        assert isinstance(cache, OnnxRuntimeCache)
        session = self.session(graph)
        binding = session.io_binding()
        for name, value in inputs.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(value))
        for name, value in cache.arrays.items():
            place = ("cpu", 0, value.dtype, value.shape, value.ctypes.data)
            binding.bind_input(name, *place)
            binding.bind_output(f"new_{name}", *place)
        binding.bind_output("logits", "cpu")
        with _told(graph):
            session.run_with_iobinding(binding)
        outputs = binding.get_outputs()
        names = [*(f"new_{name}" for name in cache.arrays), "logits"]
        logits: NDArray[np.float32] = outputs[names.index("logits")].numpy()
        return logits

    def keep_slots(self, graph: str, cache: KVCache, slots: NDArray[np.int64]) -> None:
        """Move slots to the front."""
        assert isinstance(cache, OnnxRuntimeCache)
        for value in cache.arrays.values():
            value[:, :, : len(slots)] = value[:, :, slots]
