"""A CUDA without a GPU, as far as the TensorRT backend uses it.

"Device" memory is host memory that is reached only by address, and a stream does nothing before it is synchronised.
"""

import ctypes
import functools
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 256
DEVICE = 1  # not the one that other threads start with
SUCCESS, INVALID_VALUE, INSUFFICIENT_DRIVER = 0, 1, 35
REASONS = {SUCCESS: b"no error", INVALID_VALUE: b"invalid argument", INSUFFICIENT_DRIVER: b"driver is insufficient"}


class FakeCuda:
    """The part of `cuda.bindings.runtime` that the backend may use, and checks of how it is used."""

    cudaError_t = SimpleNamespace(cudaSuccess=SUCCESS)  # noqa: N815
    cudaMemcpyKind = SimpleNamespace(  # noqa: N815
        cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2, cudaMemcpyDeviceToDevice=3
    )
    cudaStreamNonBlocking = 1  # noqa: N815
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeRelaxed=2)  # noqa: N815
    STREAM = 77

    def __init__(self, devices: int = 2) -> None:
        self.devices = devices
        self.memory: dict[int, NDArray[np.uint8]] = {}
        self.queue: list[Callable[[], object]] = []
        self.captured: list[Callable[[], object]] | None = None
        self.graphs: dict[int, list[Callable[[], object]]] = {}
        self.launches = self.synchronisations = 0
        self.downloaded = self.uploaded = 0  # bytes
        self.current = threading.local()
        self.current.device = DEVICE
        self.failing = ""
        self.streams = 0

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("cuda") and name == object.__getattribute__(self, "failing"):
            return lambda *_: (INVALID_VALUE, None)
        return object.__getattribute__(self, name)

    def check(self, address: int, size: int, on_device: bool = True) -> None:
        inside = [start <= address and address + size <= start + len(data) for start, data in self.memory.items()]
        if any(inside) != on_device:
            raise AssertionError(f"{size} bytes at {address}: not inside one allocation")
        if getattr(self.current, "device", 0) != DEVICE:
            raise AssertionError("another device is current in this thread")

    def cudaGetDeviceCount(self) -> tuple[int, int | None]:  # noqa: N802
        return (SUCCESS, self.devices) if self.devices else (INSUFFICIENT_DRIVER, None)

    def cudaGetErrorString(self, code: int) -> tuple[int, bytes]:  # noqa: N802
        return SUCCESS, REASONS[code]

    def cudaGetDevice(self) -> tuple[int, int]:  # noqa: N802
        return SUCCESS, getattr(self.current, "device", 0)

    def cudaSetDevice(self, device: int) -> tuple[int]:  # noqa: N802
        self.current.device = device
        return (SUCCESS,)

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[int, int]:  # noqa: N802
        assert flags == self.cudaStreamNonBlocking
        self.streams += 1
        return SUCCESS, self.STREAM

    def cudaStreamDestroy(self, stream: int) -> tuple[int]:  # noqa: N802
        assert stream == self.STREAM
        self.streams -= 1
        return (SUCCESS,)

    def cudaMalloc(self, size: int) -> tuple[int, int]:  # noqa: N802
        data = np.full(size + ALIGNMENT, 0xFF, dtype=np.uint8)  # NaN in every floating-point type
        start = -data.ctypes.data % ALIGNMENT
        self.memory[data.ctypes.data + start] = data[start : start + size]
        return SUCCESS, data.ctypes.data + start

    def cudaFree(self, address: int) -> tuple[int]:  # noqa: N802
        self.run_queue()  # it waits for the device
        del self.memory[address]
        return (SUCCESS,)

    def cudaMemsetAsync(self, address: int, value: int, size: int, stream: int) -> tuple[int]:  # noqa: N802
        assert stream == self.STREAM
        self.check(address, size)
        self.put(lambda: ctypes.memset(address, value, size))
        return (SUCCESS,)

    def cudaMemcpyAsync(self, to: int, source: int, size: int, kind: int, stream: int) -> tuple[int]:  # noqa: N802
        assert stream == self.STREAM
        assert kind in (1, 2)
        self.check(to, size, on_device=kind == 1)
        self.check(source, size, on_device=kind == 2)
        # An upload from pageable memory has read it on return; a download is done at synchronisation.
        content = ctypes.string_at(source, size) if kind == 1 else None
        self.uploaded += size * (kind == 1)
        self.downloaded += size * (kind == 2)
        self.put(lambda: ctypes.memmove(to, content or ctypes.string_at(source, size), size))
        return (SUCCESS,)

    def cudaMemcpy2DAsync(  # noqa: N802
        self, to: int, to_pitch: int, source: int, pitch: int, width: int, rows: int, kind: int, stream: int
    ) -> tuple[int]:
        assert (kind, stream) == (3, self.STREAM)
        assert width <= min(to_pitch, pitch)
        for row in range(rows):
            to_row, source_row = to + row * to_pitch, source + row * pitch
            assert abs(to_row - source_row) >= width, "undefined: the copy overlaps itself"
            self.check(to_row, width)
            self.check(source_row, width)
            self.put(functools.partial(ctypes.memmove, to_row, source_row, width))
        return (SUCCESS,)

    def put(self, step: Callable[[], object]) -> None:
        (self.queue if self.captured is None else self.captured).append(step)

    def cudaGetDeviceProperties(self, device: int) -> tuple[int, SimpleNamespace]:  # noqa: N802
        assert device == DEVICE
        return SUCCESS, SimpleNamespace(name=b"A fake/GPU", major=8, minor=9)

    def cudaStreamBeginCapture(self, stream: int, mode: int) -> tuple[int]:  # noqa: N802
        assert (stream, mode, self.captured) == (self.STREAM, 2, None)
        self.captured = []
        return (SUCCESS,)

    def cudaStreamEndCapture(self, stream: int) -> tuple[int, Any]:  # noqa: N802
        assert stream == self.STREAM
        steps, self.captured = self.captured, None
        return SUCCESS, steps

    def cudaGraphInstantiate(self, graph: list[Callable[[], object]], flags: int) -> tuple[int, int]:  # noqa: N802
        assert flags == 0
        self.graphs[id(graph)] = graph
        return SUCCESS, id(graph)

    def cudaGraphDestroy(self, graph: list[Callable[[], object]]) -> tuple[int]:  # noqa: N802
        return (SUCCESS,)

    def cudaGraphExecDestroy(self, handle: int) -> tuple[int]:  # noqa: N802
        del self.graphs[handle]
        return (SUCCESS,)

    def cudaGraphLaunch(self, handle: int, stream: int) -> tuple[int]:  # noqa: N802
        assert stream == self.STREAM
        self.launches += 1
        self.queue.extend(self.graphs[handle])
        return (SUCCESS,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[int]:  # noqa: N802
        assert stream == self.STREAM
        assert self.captured is None
        self.synchronisations += 1
        self.run_queue()
        return (SUCCESS,)

    def run_queue(self) -> None:
        work, self.queue = self.queue, []
        for step in work:
            step()
