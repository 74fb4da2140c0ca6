"""Device buffers that are lent: one comes back when nobody holds it any more."""

import weakref

from mulo_sd.engines.backends.tensorrt.cuda import Cuda, DeviceBuffer, aligned

MAX_FREE = 4


class Lease:
    """A buffer for as long as the object lives."""

    def __init__(self, buffer: DeviceBuffer) -> None:
        self.buffer = buffer


class Leases:
    """Buffers for logits. What is put on the stream for one that came back runs after what its last holder put there.

    The last one to come back is the first to be lent again: passes that follow one another have the same addresses.
    """

    def __init__(self, cuda: Cuda, purpose: str) -> None:
        self.cuda, self.purpose = cuda, purpose
        self.free: list[DeviceBuffer] = []

    def take(self, size_bytes: int) -> Lease:
        """Return a buffer of at least a size."""
        for number in range(len(self.free) - 1, -1, -1):
            if self.free[number].size_bytes >= size_bytes:
                buffer = self.free.pop(number)
                break
        else:
            buffer = DeviceBuffer(self.cuda, aligned(size_bytes), self.purpose)
        lease = Lease(buffer)
        weakref.finalize(lease, self._back, weakref.ref(self), buffer)
        return lease

    @staticmethod
    def _back(owner: "weakref.ref[Leases]", buffer: DeviceBuffer) -> None:
        leases = owner()
        if leases is not None:
            leases.free.append(buffer)
            if len(leases.free) > MAX_FREE:
                del leases.free[0]
