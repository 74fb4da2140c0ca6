"""Device memory for activations: on one stream one plan runs at a time, so all plans of a bundle share it."""

from mulo_sd.engines.backends.tensorrt.cuda import Cuda, DeviceBuffer


class Activations:
    """One buffer, which grows to the size that the largest plan needs.

    Attributes:
        generation: Counts the buffers; contexts and captured graphs hold the address of one generation.
    """

    def __init__(self, cuda: Cuda) -> None:
        self.cuda, self.generation = cuda, 0
        self.buffer: DeviceBuffer | None = None

    def make_room(self, size_bytes: int) -> None:
        """Replace the buffer where it is too small; freeing it waits for the stream."""
        if self.buffer is None or self.buffer.size_bytes < size_bytes:
            if self.buffer is not None:
                self.buffer.free()
                self.buffer = None
            self.buffer = DeviceBuffer(self.cuda, size_bytes, "activations")
            self.generation += 1
