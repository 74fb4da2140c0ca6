"""ONNX Runtime's CUDA provider: keys, values and logits are its values on the device, bound where they lie.

ONNX Runtime cuts no values into pieces and copies no part of one. Rows side by side are bound by their address; of
scattered ones everything between the first and the last is sampled or judged, and the rest dropped on the host.
Compaction goes through the host: it comes once in hundreds of tokens.
"""

import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from mulo_sd.engines.backends.base import NUMPY_DTYPES, BackendError, KVCache, Tensors, cache_tensors
from mulo_sd.engines.backends.ort.cpu import make_session, told
from mulo_sd.engines.bundle import Bundle
from mulo_sd.engines.bundle.contract import updated_cache
from mulo_sd.engines.rules.anchor import Anchor
from mulo_sd.engines.rules.noise import NoiseSource
from mulo_sd.engines.scores import Floats, Tokens, setting_inputs
from mulo_sd.engines.settings import Settings

PROVIDERS: Mapping[str, tuple[str, ...]] = {
    "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider"),
    "cpu": ("CPUExecutionProvider",),  # for tests
}
INSTALL = "pip uninstall -y onnxruntime && pip install --force-reinstall --no-deps onnxruntime-gpu"
FLOAT_BYTES = 4
MAX_ARRAYS = 8


class DeviceCache:
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


class DeviceArrays:
    """Copies on the device of arrays that come again and do not change: tables of neighbours."""

    def __init__(self, device: str) -> None:
        self.device = device
        # With the array itself: while it is held, no other has its id.
        self.held: OrderedDict[int, tuple[NDArray[Any], Any]] = OrderedDict()

    def of(self, array: NDArray[Any]) -> Any:
        """Return an array's copy."""
        if id(array) not in self.held:
            content = np.ascontiguousarray(array)
            self.held[id(array)] = array, onnxruntime.OrtValue.ortvalue_from_numpy(content, self.device, 0)
            if len(self.held) > MAX_ARRAYS:
                self.held.popitem(last=False)
        self.held.move_to_end(id(array))
        return self.held[id(array)][1]


class OnnxRuntimeDeviceBackend:
    """Runs a bundle's ONNX files on a device; the host sees tokens and decisions."""

    def __init__(self, bundle: Bundle, device: str = "cuda") -> None:
        """Make a first session, which shows whether the device is there.

        Args:
            bundle: Opened and checked.
            device: "cuda"; "cpu" for tests.

        Raises:
            BackendError: ONNX Runtime has no such provider, there is no GPU, or the bundle is in bf16.
        """
        self.bundle, self.device, self.name = bundle, device, f"ort-{device}"
        provider = PROVIDERS[device][0]
        if provider not in onnxruntime.get_available_providers():
            raise BackendError(
                f"backend {self.name}: the ONNX Runtime that is installed has no {provider}; install the one that has: "
                f"{INSTALL}"
            )
        if bundle.manifest.precision == "bf16":
            raise BackendError(
                f"backend {self.name}: expected a bundle in fp32 or fp16, got bf16; use --backend trt-rtx, or build "
                "another precision"
            )
        self.sessions: dict[str, onnxruntime.InferenceSession] = {}
        self.vocabulary = {entry.graph: entry.vocabulary for entry in bundle.manifest.models}
        self.arrays = DeviceArrays(device)
        self.lock = threading.Lock()
        if provider not in self.session("sampler").get_providers():  # ONNX Runtime goes on without it, on the CPU
            raise BackendError(
                f"backend {self.name}: {provider} does not start: no NVIDIA GPU is at hand, or CUDA is not installed; "
                "use --backend ort"
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
            with told(graph):
                return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    def run_bound(
        self, graph: str, inputs: Mapping[str, NDArray[Any] | At | Any], wanted: Collection[str]
    ) -> dict[str, NDArray[Any]]:
        """Run a stateless graph of which some inputs lie on the device; return some of its outputs."""
        with self.lock, told(graph):
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

    def score(self, graph: str, cache: KVCache, inputs: Tensors) -> "DeviceScores":
        """Run one pass in place; its logits are a value of their own and outlive the next.

        Raises:
            BackendError: ONNX Runtime cannot run it, or it would write beyond the last slot.
        """
        assert isinstance(cache, DeviceCache)
        batch, fed = inputs["tokens"].shape
        end, slots = int(inputs["write_index"].max()) + fed, inputs["slot_ranks"].shape[1]
        if end > slots:
            raise BackendError(f"graph {graph}: expected writes into {slots} slots, got one that ends at {end}")
        with self.lock, told(graph):
            shape = (batch, fed, self.vocabulary[graph])
            logits = onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, np.float32, self.device, 0)
            for name, value in inputs.items():
                cache.binding.bind_cpu_input(name, np.ascontiguousarray(value))
            cache.binding.bind_ortvalue_output("logits", logits)
            self.session(graph).run_with_iobinding(cache.binding)
        return DeviceScores(self, logits, 0, fed)

    def keep_slots(self, graph: str, cache: KVCache, slots: NDArray[np.int64]) -> None:
        """Move slots to the front, by way of the host."""
        assert isinstance(cache, DeviceCache)
        with self.lock:
            for value in cache.values.values():
                content = value.numpy().copy()
                content[:, :, : len(slots)] = content[:, :, slots]
                value.update_inplace(content)


class DeviceScores:
    """Logits of one pass on the device, from one of its rows on."""

    def __init__(self, backend: OnnxRuntimeDeviceBackend, value: Any, first: int, fed: int) -> None:
        """Take `fed` rows of a value, Float32[B, T, V], from row `first` on."""
        self.backend, self.value, self.first, self.fed = backend, value, first, fed

    def logits(self) -> Floats:
        """Return all of them on the host."""
        with self.backend.lock:
            everything: Floats = self.value.numpy()
        return everything[:, self.first : self.first + self.fed].copy()

    def last(self) -> "DeviceScores":
        """Return the last row's; the whole value stays, of which no part can be copied."""
        return DeviceScores(self.backend, self.value, self.first + self.fed - 1, 1)

    def _distribution(self, rows: Tokens, settings: Settings, raw: bool = False) -> tuple[dict[str, Any], Tokens]:
        """Return what makes p of all rows from the first to the last asked for, and which of those are asked for."""
        batch, fed, vocabulary = self.value.shape()
        numbers = np.asarray(rows)
        start, count = int(numbers[0]), int(numbers[-1] - numbers[0]) + 1
        row_bytes = vocabulary * FLOAT_BYTES
        cond = self.value.data_ptr() + (self.first + start) * row_bytes
        uncond = cond + (batch - 1) * fed * row_bytes
        shape = (count, vocabulary)
        logits = {"cond_logits": At(cond, shape), "uncond_logits": At(uncond, shape)}
        return {**setting_inputs(settings, raw), **logits}, numbers - start

    def _sample(self, rows: Tokens, settings: Settings, noise: Floats, wanted: tuple[str, ...]) -> list[NDArray[Any]]:
        inputs, asked = self._distribution(rows, settings)
        spread = np.zeros(inputs["cond_logits"].shape, dtype=np.float32)
        spread[asked] = noise
        found = self.backend.run_bound("sampler", inputs | {"noise": spread}, wanted)
        return [found[name][asked] for name in wanted]

    def draw(self, rows: Tokens, settings: Settings, noise: Floats) -> tuple[Tokens, Floats]:
        """Sample by given noise."""
        tokens, found = self._sample(rows, settings, noise, ("tokens", "log_probs"))
        return tokens, found

    def sample(
        self, rows: Tokens, cells: Tokens, settings: Settings, noise: NoiseSource, anchor: Anchor | None
    ) -> Tokens:
        """Sample by the cells' own noise."""
        own = noise.rows(cells)
        (tokens,) = self._sample(rows, settings, own if anchor is None else own + anchor.bonus(cells), ("tokens",))
        return tokens

    def judge(
        self, rows: Tokens, settings: Settings, draft_tokens: Tokens, neighbours: Tokens, raw: bool
    ) -> tuple[Floats, Floats]:
        """Pool the target's probability around draft tokens."""
        inputs, asked = self._distribution(rows, settings, raw)
        spread = np.zeros(inputs["cond_logits"].shape[0], dtype=np.int64)
        spread[asked] = draft_tokens
        inputs |= {"draft_tokens": spread, "neighbours": self.backend.arrays.of(neighbours)}
        found = self.backend.run_bound("acceptance", inputs, ("pooled_probs", "entropies"))
        return found["pooled_probs"][asked], found["entropies"][asked]
