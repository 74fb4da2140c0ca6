"""Device memory for what plans compute on the way: on one stream one runs at a time, so all of a bundle share it."""

from mulo_sd.engines.backends.tensorrt.cuda import Cuda, DeviceBuffer


class Activations:
    """One buffer, which grows to what the largest needs.

    Attributes:
        generation: Counts the buffers: contexts and captured graphs know the address of theirs.
    """

    def __init__(self, cuda: Cuda) -> None:
        self.cuda, self.generation = cuda, 0
        self.buffer: DeviceBuffer | None = None

    def make_room(self, size_bytes: int) -> None:
        """Replace the buffer where it is too small; what is on the stream has used it then."""
        if self.buffer is None or self.buffer.size_bytes < size_bytes:
            if self.buffer is not None:
                self.buffer.free()
                self.buffer = None
            self.buffer = DeviceBuffer(self.cuda, size_bytes, "activations")
            self.generation += 1
