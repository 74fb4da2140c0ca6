"""One device, one stream, one thing at a time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


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

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Do what is inside without gradients, on the stream, and while nobody else does."""
        with self.lock, torch.inference_mode():
            if self.stream is None:
                yield
            else:
                with torch.cuda.device(self.device), torch.cuda.stream(self.stream):
                    yield

    def put(self, array: NDArray[Any]) -> Tensor:
        """Return a copy of an array on the device."""
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        return tensor.to(self.device, copy=True)


def host(tensor: Tensor) -> NDArray[Any]:
    """Return a tensor as an array, float32 whatever the precision; waits for the device."""
    on_host = tensor.cpu()
    array: NDArray[Any] = (on_host.float() if on_host.is_floating_point() else on_host).numpy()
    return array
