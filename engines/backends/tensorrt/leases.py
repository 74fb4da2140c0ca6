"""A pool of device buffers: each is lent, and returns when its lease is collected."""

import weakref
from collections import deque
from contextlib import suppress

from mulo_sd.engines.backends.tensorrt.cuda import Cuda, DeviceBuffer, aligned

MAX_FREE = 4


class Lease:
    """A buffer, lent for as long as this object lives."""

    def __init__(self, buffer: DeviceBuffer) -> None:
        self.buffer = buffer


class Leases:
    """A pool of buffers for logits. The stream keeps the order: a new holder's work runs after the last holder's.

    The buffer that was returned last is lent first, so that consecutive passes have the same addresses. One thread at a
    time may take; buffers return in any thread, whenever their last holder is collected.
    """

    def __init__(self, cuda: Cuda, purpose: str) -> None:
        self.cuda, self.purpose = cuda, purpose
        self.free: list[DeviceBuffer] = []  # changed by `take` alone
        self.returned: deque[DeviceBuffer] = deque()

    def take(self, size_bytes: int) -> Lease:
        """Lend a buffer of at least this size."""
        with suppress(IndexError):
            while True:
                self.free.append(self.returned.popleft())
        del self.free[:-MAX_FREE]
        for number in range(len(self.free) - 1, -1, -1):
            if self.free[number].size_bytes >= size_bytes:
                buffer = self.free.pop(number)
                break
        else:
            buffer = DeviceBuffer(self.cuda, aligned(size_bytes), self.purpose)
        lease = Lease(buffer)
        weakref.finalize(lease, self._return, weakref.ref(self), buffer)
        return lease

    @staticmethod
    def _return(owner: "weakref.ref[Leases]", buffer: DeviceBuffer) -> None:
        leases = owner()
        if leases is not None:
            leases.returned.append(buffer)
            with suppress(IndexError):  # another thread took them meanwhile
                while len(leases.returned) > MAX_FREE:
                    leases.returned.popleft()
