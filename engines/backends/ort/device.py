"""ONNX Runtime's CUDA provider: keys, values and logits are its values on the device, bound where they lie.

ONNX Runtime cuts no values into pieces and copies no part of one. Rows side by side are bound by their address; of
scattered ones everything between the first and the last is sampled or judged, and the rest dropped on the host.
Compaction goes through the host: it comes once in hundreds of tokens.
"""

import threading
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from mulo_sd.engines.backends.base import Backend, BackendError, Floats, KVCache, Tensors, Tokens, Traits
from mulo_sd.engines.backends.caches import NUMPY_DTYPES, cache_tensors, output_widths
from mulo_sd.engines.backends.cell_noise import CellNoise
from mulo_sd.engines.backends.device_arrays import DeviceArrays
from mulo_sd.engines.backends.device_scores import DeviceScores
from mulo_sd.engines.backends.host_scores import setting_inputs
from mulo_sd.engines.backends.nvidia_driver import gpus
from mulo_sd.engines.backends.ort.cpu import make_session, naming
from mulo_sd.engines.backends.readiness import INSTALL_ORT_CUDA, elsewhere, unsuited_precision
from mulo_sd.engines.backends.verdicts import NO_GPU
from mulo_sd.engines.bundle import Bundle
from mulo_sd.engines.bundle.contract import HIDDEN, updated_cache
from mulo_sd.engines.distribution import Distribution

PROVIDERS: Mapping[str, tuple[str, ...]] = {
    "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider"),
    "cpu": ("CPUExecutionProvider",),  # for tests
}
FLOAT_BYTES = 4


class DeviceCache(KVCache):
    """Keys and values by input name, [B, heads, slots, head_dim] each: input and output in the same memory."""

    def __init__(self, batch: int, values: dict[str, Any], binding: Any) -> None:
        """Bind them, once for all passes."""
        self.batch, self.values, self.binding = batch, values, binding
        for name, value in values.items():
            binding.bind_ortvalue_input(name, value)
            binding.bind_ortvalue_output(updated_cache(name), value)


class At(NamedTuple):
    """Float32 on the device, at an address inside a value that somebody holds."""

    address: int
    shape: tuple[int, ...]


def _uploaded(device: str, array: NDArray[Any]) -> Any:
    return onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), device, 0)


class OnnxRuntimeDeviceBackend(Backend):
    """Runs a bundle's ONNX files on a device; the host sees tokens and decisions."""

    device: str
    traits = Traits(scores=True, branches=True)

    def __init__(self, bundle: Bundle, device: str = "cuda") -> None:
        """Make a first session, which shows whether the device is there.

        Args:
            bundle: Opened and checked.
            device: "cuda"; "cpu" for tests.

        Raises:
            BackendError: ONNX Runtime has no such provider, there is no GPU or no CUDA, or the bundle is in bf16.
        """
        self.bundle, self.device, self.name = bundle, device, f"ort-{device}"
        provider = PROVIDERS[device][0]
        if provider not in onnxruntime.get_available_providers():
            raise BackendError(
                f"backend {self.name}: the ONNX Runtime that is installed has no {provider}; install the one that has: "
                f"{INSTALL_ORT_CUDA}"
            )
        unsuited = unsuited_precision(self.name, bundle.manifest.precision)
        if unsuited is not None:
            raise BackendError(f"backend {self.name}: {unsuited}; {elsewhere(bundle)}")
        if device == "cuda":
            if not gpus():
                raise BackendError(f"backend {self.name}: {NO_GPU}; use --backend ort")
            onnxruntime.preload_dlls()  # CUDA and cuDNN from NVIDIA's wheels, which the loader does not search
        self.sessions: dict[str, onnxruntime.InferenceSession] = {}
        self.widths = {entry.graph: output_widths(bundle.manifest, entry) for entry in bundle.manifest.with_caches}
        self.arrays = DeviceArrays(partial(_uploaded, device))
        self.lock = threading.Lock()
        if provider not in self.session("sampler").get_providers():  # ONNX Runtime goes on without it, on the CPU
            raise BackendError(
                f"backend {self.name}: {provider} does not start: ONNX Runtime cannot load CUDA or cuDNN, see above; "
                "install them with `pip install 'onnxruntime-gpu[cuda,cudnn]'`, or use --backend ort"
            )

    def session(self, graph: str) -> onnxruntime.InferenceSession:
        """Return the session of a graph, made on first use.

        Raises:
            BackendError: ONNX Runtime does not accept the file.
        """
        if graph not in self.sessions:
            path = self.bundle.file(self.bundle.manifest.graphs[graph].onnx)
            self.sessions[graph] = make_session(path, 1, PROVIDERS[self.device])
        return self.sessions[graph]

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Run a stateless graph."""
        with self.lock:
            session = self.session(graph)
            names = [output.name for output in session.get_outputs()]
            with naming(graph):
                return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    def run_bound(
        self, graph: str, inputs: Mapping[str, NDArray[Any] | At | Any], wanted: Collection[str]
    ) -> dict[str, NDArray[Any]]:
        """Run a stateless graph of which some inputs lie on the device; return some of its outputs."""
        with self.lock, naming(graph):
            binding = self.session(graph).io_binding()
            known = {item.name for item in self.session(graph).get_inputs()}
            for name, value in inputs.items():
                if name not in known:  # one that changes nothing
                    continue
                if isinstance(value, At):
                    binding.bind_input(name, self.device, 0, np.float32, value.shape, value.address)
                elif isinstance(value, np.ndarray):
                    binding.bind_cpu_input(name, np.ascontiguousarray(value).reshape(value.shape))
                else:
                    binding.bind_ortvalue_input(name, value)
            for name in wanted:
                binding.bind_output(name, "cpu")
            self.session(graph).run_with_iobinding(binding)
            return {name: value.numpy() for name, value in zip(wanted, binding.get_outputs(), strict=True)}

    def new_cache(self, graph: str, batch: int) -> DeviceCache:
        """Return zeroed keys and values with all their slots."""
        values = {}
        for name, shape, dtype in cache_tensors(self.bundle.manifest.graphs[graph], batch):
            zeros = np.zeros(shape, dtype=NUMPY_DTYPES[dtype])
            values[name] = onnxruntime.OrtValue.ortvalue_from_numpy(zeros, self.device, 0)
        with self.lock:
            return DeviceCache(batch, values, self.session(graph).io_binding())

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> NDArray[np.float32]:
        """Run one pass in place; return its logits on the host."""
        return self.score(graph, cache, inputs).logits()

    def score(self, graph: str, cache: KVCache, inputs: Tensors) -> "OnnxRuntimeScores":
        """Run one pass in place; its logits are a value of their own and outlive the next.

        Raises:
            BackendError: ONNX Runtime cannot run it, or it would write beyond the last slot.
        """
        assert isinstance(cache, DeviceCache)
        batch, fed = inputs["tokens"].shape
        end, slots = int(inputs["write_index"].max()) + fed, inputs["slot_ranks"].shape[1]
        if end > slots:
            raise BackendError(f"graph {graph}: expected writes into {slots} slots, got one that ends at {end}")
        with self.lock, naming(graph):
            values = {}
            for name, width in self.widths[graph].items():
                shape = (batch, fed, width)
                values[name] = onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, np.float32, self.device, 0)
                cache.binding.bind_ortvalue_output(name, values[name])
            for name, array in inputs.items():
                cache.binding.bind_cpu_input(name, np.ascontiguousarray(array))
            self.session(graph).run_with_iobinding(cache.binding)
        return OnnxRuntimeScores(self, values["logits"], 0, fed, values.get(HIDDEN))

    def keep_slots(self, graph: str, cache: KVCache, slots: NDArray[np.int64]) -> None:
        """Move slots to the front, by way of the host."""
        assert isinstance(cache, DeviceCache)
        with self.lock:
            for value in cache.values.values():
                content = value.numpy().copy()
                content[:, :, : len(slots)] = content[:, :, slots]
                value.update_inplace(content)


class OnnxRuntimeScores(DeviceScores):
    """Logits of one pass as a value on the device, from one of its rows on."""

    def __init__(self, backend: OnnxRuntimeDeviceBackend, value: Any, first: int, fed: int, states: Any = None) -> None:
        """Take `fed` rows of a value, Float32[B, T, V], from row `first` on, and of one of hidden states if any."""
        self.backend, self.value, self.first, self.fed, self.states = backend, value, first, fed, states

    def logits(self) -> Floats:
        """Return all of them on the host."""
        return self._on_host(self.value)

    def hidden(self) -> Floats:
        """Return the hidden states on the host."""
        return super().hidden() if self.states is None else self._on_host(self.states)

    def _on_host(self, value: Any) -> Floats:
        with self.backend.lock:
            everything: Floats = value.numpy()
        return everything[:, self.first : self.first + self.fed].copy()

    def last(self) -> "OnnxRuntimeScores":
        """Return the last row's; the whole value stays, of which no part can be copied."""
        return OnnxRuntimeScores(self.backend, self.value, self.first + self.fed - 1, 1, self.states)

    def _run(
        self,
        graph: str,
        rows: Tokens,
        distribution: Distribution,
        inputs: Mapping[str, Any],
        outputs: tuple[str, ...],
    ) -> dict[str, NDArray[Any]]:
        """Run a graph on all rows from the first to the last asked for; return what it says of those asked for."""
        batch, fed, vocabulary = self.value.shape()
        start, count = int(rows[0]), int(rows[-1] - rows[0]) + 1
        row_bytes = vocabulary * FLOAT_BYTES
        cond = self.value.data_ptr() + (self.first + start) * row_bytes
        uncond = cond + (batch - 1) * fed * row_bytes
        shape = (count, vocabulary)
        bound: dict[str, Any] = {**setting_inputs(distribution)}
        bound |= {"cond_logits": At(cond, shape), "uncond_logits": At(uncond, shape)}
        for name, value in inputs.items():
            if name == "neighbours":
                bound[name] = self.backend.arrays.of(value)
            else:
                bound[name] = _spread(value.on_host() if isinstance(value, CellNoise) else value, rows - start, count)
        results = self.backend.run_bound(graph, bound, outputs)
        return {name: value[rows - start] for name, value in results.items()}


def _spread(values: NDArray[Any], rows: Tokens, count: int) -> NDArray[Any]:
    """Return values of some of `count` rows, with zeros in the others."""
    spread = np.zeros((count, *values.shape[1:]), dtype=values.dtype)
    spread[rows] = values
    return spread
