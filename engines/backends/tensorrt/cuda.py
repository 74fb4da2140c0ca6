"""The part of CUDA that a backend needs: one device, one stream, buffers and copies; every return code is checked."""

import contextlib
import importlib
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from mulo_sd.engines.backends.base import BackendError, one_line
from mulo_sd.engines.backends.nvidia_driver import Gpu
from mulo_sd.engines.backends.verdicts import NO_GPU

# Of the addresses that TensorRT takes, in bytes; cudaMalloc gives such.
ALIGNMENT = 256


def aligned(size_bytes: int) -> int:
    """Return a size that is large enough for as many bytes and a multiple of ALIGNMENT."""
    return -(-size_bytes // ALIGNMENT) * ALIGNMENT


def _quietly(function: Callable[..., object], *arguments: object) -> None:
    """Release something of an owner that is gone; nobody could act on an error."""
    with contextlib.suppress(Exception):
        function(*arguments)


class Cuda:
    """The current device of the thread that makes it, and a stream of its own.

    Copies between device and host are in order with everything else on the stream, but only
    `synchronise` says that they are done: until then the host's arrays must live.
    """

    def __init__(self, backend: str) -> None:
        """Take a device.

        Args:
            backend: Its name, for messages; also the name of the extra that installs what is needed.

        Raises:
            BackendError: cuda-bindings is not installed, or there is no GPU.
        """
        self.backend = backend
        try:
            self.api: Any = importlib.import_module("cuda.bindings.runtime")
        except ImportError as error:
            raise BackendError(
                f"backend {backend}: cannot import the package cuda-bindings ({one_line(error)}); "
                f"install it with `pip install 'mulo-sd[{backend}]'`"
            ) from None
        code, count = self.api.cudaGetDeviceCount()
        if code != self.api.cudaError_t.cudaSuccess or count < 1:
            reason = self._reason(code) if code != self.api.cudaError_t.cudaSuccess else "0 devices"
            raise BackendError(f"backend {backend}: {NO_GPU} (CUDA reports: {reason}); use --backend ort")
        self.device: int = self._call("cudaGetDevice")
        self.live: dict[int, tuple[str, int]] = {}  # purpose and size by address
        self._uploading: list[NDArray[Any]] = []
        # A non-blocking stream: it does not wait for what the embedding process does on the default one.
        self._stream = self._call("cudaStreamCreateWithFlags", self.api.cudaStreamNonBlocking)
        weakref.finalize(self, _quietly, self.api.cudaStreamDestroy, self._stream)

    @property
    def stream(self) -> int:
        """The stream's handle, for other libraries."""
        return int(self._stream)

    def _reason(self, code: object) -> str:
        text = self.api.cudaGetErrorString(code)[1]
        return text.decode() if isinstance(text, bytes) else str(code)

    def _call(self, function: str, *arguments: object) -> Any:
        code, *values = getattr(self.api, function)(*arguments)
        if code != self.api.cudaError_t.cudaSuccess:
            raise BackendError(f"backend {self.backend}: {function} failed: {self._reason(code)}")
        return values[0] if values else None

    def use(self) -> None:
        """Make the device current in the calling thread, which may be another than the one that made this object."""
        self._call("cudaSetDevice", self.device)

    def gpu(self) -> Gpu:
        """Return what the GPU is called, and its compute capability."""
        properties = self._call("cudaGetDeviceProperties", self.device)
        name = properties.name
        text = name.decode(errors="replace") if isinstance(name, bytes) else str(name)
        return Gpu(text, f"{properties.major}.{properties.minor}")

    def allocate(self, size_bytes: int, purpose: str) -> int:
        """Return the address of new device memory with undefined content, a multiple of ALIGNMENT."""
        code, address = self.api.cudaMalloc(size_bytes)
        if code != self.api.cudaError_t.cudaSuccess:
            raise BackendError(
                f"backend {self.backend}: cannot allocate {size_bytes / 2**20:.1f} MiB on the GPU: {self._reason(code)}"
            )
        self.live[int(address)] = purpose, size_bytes
        return int(address)

    def free(self, address: int) -> None:
        """Free device memory; CUDA waits for what still uses it."""
        self.live.pop(address, None)
        self._call("cudaFree", address)

    def clear(self, address: int, size_bytes: int) -> None:
        """Set device memory to zeros."""
        self._call("cudaMemsetAsync", address, 0, size_bytes, self._stream)

    def upload(self, address: int, array: NDArray[Any]) -> None:
        """Copy a C-contiguous array to the device; it is held until that is done."""
        if array.nbytes:
            self._uploading.append(array)
            kind = self.api.cudaMemcpyKind.cudaMemcpyHostToDevice
            self._call("cudaMemcpyAsync", address, array.ctypes.data, array.nbytes, kind, self._stream)

    def download(self, array: NDArray[Any], address: int) -> None:
        """Copy from the device into a C-contiguous array."""
        if array.nbytes:
            kind = self.api.cudaMemcpyKind.cudaMemcpyDeviceToHost
            self._call("cudaMemcpyAsync", array.ctypes.data, address, array.nbytes, kind, self._stream)

    def copy_rows(
        self, to_address: int, to_pitch: int, from_address: int, from_pitch: int, width_bytes: int, rows: int
    ) -> None:
        """Copy `rows` pieces of `width_bytes` on the device, a pitch apart in bytes; the pieces must not overlap."""
        kind = self.api.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        arguments = (to_address, to_pitch, from_address, from_pitch, width_bytes, rows, kind, self._stream)
        self._call("cudaMemcpy2DAsync", *arguments)

    def copy(self, to_address: int, from_address: int, size_bytes: int) -> None:
        """Copy on the device; source and destination must not overlap."""
        self.copy_rows(to_address, size_bytes, from_address, size_bytes, size_bytes, 1)

    def synchronise(self) -> None:
        """Wait for everything on the stream."""
        self._call("cudaStreamSynchronize", self._stream)
        self._uploading.clear()

    def capture(self, work: Callable[[], None]) -> "CapturedGraph":
        """Record what `work` puts on the stream, none of which is done, as one thing to launch.

        Raises:
            BackendError: it cannot be captured, or `work` fails.
        """
        # Relaxed: a buffer that is freed meanwhile, by whatever thread collects garbage, is no part of it.
        self._call("cudaStreamBeginCapture", self._stream, self.api.cudaStreamCaptureMode.cudaStreamCaptureModeRelaxed)
        try:
            work()
        except BaseException:
            _quietly(self.api.cudaStreamEndCapture, self._stream)
            raise
        graph = self._call("cudaStreamEndCapture", self._stream)
        try:
            return CapturedGraph(self, self._call("cudaGraphInstantiate", graph, 0))
        finally:
            _quietly(self.api.cudaGraphDestroy, graph)

    def launch(self, graph: "CapturedGraph") -> None:
        """Put a captured graph on the stream."""
        self._call("cudaGraphLaunch", graph.handle, self._stream)


class CapturedGraph:
    """Work on the stream that was recorded; destroyed with the object."""

    def __init__(self, cuda: Cuda, handle: Any) -> None:
        self.handle = handle
        weakref.finalize(self, _quietly, cuda.api.cudaGraphExecDestroy, handle)


class DeviceBuffer:
    """Device memory, freed by `free`, at the end of a `with`, or at the latest with the object."""

    def __init__(self, cuda: Cuda, size_bytes: int, purpose: str = "scratch") -> None:
        self.cuda, self.size_bytes = cuda, size_bytes
        self.address = cuda.allocate(max(size_bytes, 1), purpose)
        self._finalizer = weakref.finalize(self, _quietly, cuda.free, self.address)

    def free(self) -> None:
        """Free the memory, once."""
        if self._finalizer.detach():
            self.cuda.free(self.address)

    def __enter__(self) -> "DeviceBuffer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.free()
