"""One device, one stream, one thing at a time."""

import threading
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class _Alone(AbstractContextManager[None]):
    """What `DeviceWork.alone` returns, again and again: it holds nothing itself."""

    def __init__(self, work: "DeviceWork") -> None:
        self.work = work

    def __enter__(self) -> None:
        self.work._enter()

    def __exit__(self, *error: object) -> None:
        self.work._leave()


class DeviceWork:
    """Where work is done: threads wait for each other, and everything is in the order of one stream.

    Attributes:
        device: "cpu" or a GPU.
        stream: Of the GPU; None on the CPU.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        # Captures and replays allocate and free in each other's order; a lock taken again by its holder is no error.
        self.lock = threading.RLock()
        self.stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch gives it no types
        self._depth = 0
        self._entered = ExitStack()
        self._alone = _Alone(self)

    def alone(self) -> AbstractContextManager[None]:
        """Do what is inside without gradients, on the stream, and while nobody else does."""
        return self._alone

    def _enter(self) -> None:
        """Take the lock; whoever holds it already is on the stream, and need not enter anything again."""
        self.lock.acquire()
        try:
            if self._depth == 0:
                with ExitStack() as entered:
                    entered.enter_context(torch.inference_mode())
                    if self.stream is not None:
                        # Of several GPUs, it makes the stream's the current one, too.
                        entered.enter_context(torch.cuda.stream(self.stream))
                    self._entered = entered.pop_all()
            self._depth += 1
        except BaseException:  # a GPU that has failed: others are told so, and do not wait for ever
            self.lock.release()
            raise

    def _leave(self) -> None:
        self._depth -= 1
        try:
            if self._depth == 0:
                self._entered.close()
        finally:
            self.lock.release()

    def put(self, array: NDArray[Any]) -> Tensor:
        """Return a copy of an array on the device."""
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        return tensor.to(self.device, copy=True)


def host(tensor: Tensor) -> NDArray[Any]:
    """Return a tensor as an array, float32 whatever the precision; waits for the device."""
    on_host = tensor.cpu()
    array: NDArray[Any] = (on_host.float() if on_host.is_floating_point() else on_host).numpy()
    return array
