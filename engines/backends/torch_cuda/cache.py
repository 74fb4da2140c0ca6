"""Keys and values, and the static buffers around them that CUDA graphs are captured with."""

import weakref
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mulo_sd.engines.backends.torch_cuda.work import DeviceWork
from mulo_sd.reference.transformer import TransformerConfig

# As long a run as a pass is padded by at most, and what the attended part is rounded up to.
MAX_PADDING, SLOT_STEP = 64, 256
BUCKETS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
# slot_ranks are int32 on the device; a position is smaller by far.
DEAD = int(np.iinfo(np.int32).max)
# Ranges of rows whose graphs are kept: those of eight decodes and the passes that they share, but for a few.
MAX_RANGES = 48
# Host buffers that may be on their way at once.
IN_FLIGHT = 4


def rounded_up(count: int, step: int) -> int:
    """Return the next multiple of a step."""
    return -(-count // step) * step


def bucket(count: int) -> int:
    """Return the number of tokens that a pass of `count` is padded to."""
    return BUCKETS[bisect_left(BUCKETS, count)] if count <= BUCKETS[-1] else rounded_up(count, MAX_PADDING)


class PassInputs(NamedTuple):
    """A pass's inputs on the device, int32 views of one buffer: T is the padded length, S all slots there are."""

    tokens: Tensor  # Int32[B, T]
    positions: Tensor  # Int32[B, T]
    slot_ranks: Tensor  # Int32[B, S]
    write_index: Tensor  # Int32[B]


class _HostBuffer:
    """A buffer of which copies to the device are made; not written again before the last one has arrived.

    Attributes:
        filled: Slots from here on are dead in it.
    """

    def __init__(self, size: int, device: torch.device) -> None:
        on_gpu = device.type == "cuda"
        self.tensor = torch.full((size,), DEAD, dtype=torch.int32, pin_memory=on_gpu)
        self.numbers: NDArray[np.int32] = self.tensor.numpy()
        self.filled = 0
        self.parts: dict[int, tuple[Tensor, Tensor]] = {}  # the first so many numbers of the device's and of this
        self.arrived: torch.cuda.Event | None = None
        if on_gpu:
            self.arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch gives it no types

    def send(self, device: Tensor, length: int) -> None:
        if length not in self.parts:
            self.parts[length] = device[:length], self.tensor[:length]
        there, here = self.parts[length]
        there.copy_(here, non_blocking=True)
        if self.arrived is not None:
            self.arrived.record()

    def wait(self) -> None:
        if self.arrived is not None:
            self.arrived.synchronize()


def empty_caches(
    config: TransformerConfig, rows: int, slots: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return memory for keys and values, Float[layers, rows, heads, S, head_dim], with room for padding."""
    shape = (config.layers, rows, config.heads, rounded_up(slots + MAX_PADDING, SLOT_STEP), config.head_dim)
    with torch.inference_mode(False):  # a tensor made there could be written nowhere else
        return torch.empty(shape, dtype=dtype, device=device), torch.empty(shape, dtype=dtype, device=device)


class Storage:
    """The memory of one cache: it outlives the cache and serves the next, with the graphs captured over it.

    Attributes:
        keys: Float[layers, B, heads, S, head_dim].
        values: The same.
        graphs: Captured passes by what they were captured for.
        seen: What was run once, and is captured when it comes again.
    """

    def __init__(self, keys: Tensor, values: Tensor, slots: int) -> None:
        """Take memory, `empty_caches` or rows of it, of which `slots` slots are for use and others for padding."""
        self.keys, self.values, self.slots = keys, values, slots
        device, batch = keys.device, keys.shape[1]
        self.batch, self.capacity = batch, keys.shape[3]
        # slot_ranks, write_index, tokens, positions; each starts at a multiple of 16 bytes.
        self.ranks_end = batch * self.capacity
        self.start = self.ranks_end + rounded_up(batch, 4)
        size = self.start + 2 * rounded_up(batch * self.capacity, 4)
        self.buffer = torch.full((size,), DEAD, dtype=torch.int32, device=device)
        self.sending = [_HostBuffer(size, device) for _ in range(IN_FLIGHT if device.type == "cuda" else 1)]
        self.sent = 0
        self.graphs: dict[tuple[int, int], Any] = {}
        # What its graphs share. Of its own: memory that no graph uses any more cannot be used by another.
        self.graph_memory: Any = None
        self.seen: set[tuple[int, int]] = set()

    def clear(self) -> None:
        """Zero keys and values: unwritten slots have the weight 0, and 0 times what was left there may be NaN."""
        self.keys.zero_()
        self.values.zero_()

    def views(self, length: int) -> PassInputs:
        """Return the buffer's parts for a pass of `length` tokens a row."""
        count = self.batch * length
        second = self.start + rounded_up(count, 4)
        return PassInputs(
            self.buffer[self.start : self.start + count].view(self.batch, length),
            self.buffer[second : second + count].view(self.batch, length),
            self.buffer[: self.ranks_end].view(self.batch, self.capacity),
            self.buffer[self.ranks_end : self.ranks_end + self.batch],
        )

    def send(self, inputs: Mapping[str, NDArray[Any]], length: int) -> None:
        """Copy a pass's inputs to the device, in one copy.

        What pads it is the last token once more: it sees what that one sees, and writes to slots that are dead.
        """
        host = self.sending[self.sent % len(self.sending)]
        self.sent += 1
        host.wait()
        fed, count = inputs["tokens"].shape[1], self.batch * length
        ranks = host.numbers[: self.ranks_end].reshape(self.batch, self.capacity)
        slot_ranks = inputs["slot_ranks"]
        # Behind what a pass writes all slots are dead.
        end = min(int(inputs["write_index"].max()) + length, slot_ranks.shape[1])
        np.minimum(slot_ranks[:, :end], DEAD, out=ranks[:, :end], casting="unsafe")
        if host.filled > end:
            ranks[:, end : host.filled] = DEAD
        host.filled = end
        host.numbers[self.ranks_end : self.ranks_end + self.batch] = inputs["write_index"]
        second = self.start + rounded_up(count, 4)
        for start, name in ((self.start, "tokens"), (second, "positions")):
            part = host.numbers[start : start + count].reshape(self.batch, length)
            part[:, :fed] = inputs[name]
            part[:, fed:] = inputs[name][:, -1:]
        host.send(self.buffer, second + count)

    def rows(self, first_row: int, count: int) -> "Storage":
        """Return some of the rows as memory of their own passes."""
        part = slice(first_row, first_row + count)
        with torch.inference_mode(False):  # a tensor made there could be written nowhere else
            return Storage(self.keys[:, part], self.values[:, part], self.slots)

    def keep(self, slots: Tensor) -> None:
        """Move slots, Int64[n] ascending, to the front."""
        for layers in (self.keys, self.values):
            for layer in layers:  # one at a time: what is gathered is a copy
                layer[:, :, : len(slots)] = layer[:, :, slots]


@dataclass(eq=False)
class TorchCache:
    """A handle to keys and values; when it is dropped, its memory waits for the next."""

    batch: int
    graph: str
    storage: Storage


class SharedRows:
    """Memory of several decodes with one model, each of which takes rows; an `engines.backends.base.CachePool`.

    Every range of rows that passes were made over lately keeps the graphs captured for it, and their memory.
    """

    def __init__(self, graph: str, storage: Storage, work: DeviceWork) -> None:
        self.graph, self.storage, self.work = graph, storage, work
        self.ranges: OrderedDict[tuple[int, int], Storage] = OrderedDict()  # the one used last is the last

    def rows(self, first_row: int, count: int) -> TorchCache:
        """Return a handle to some of the rows."""
        with self.work.alone():
            storage = self.ranges.pop((first_row, count), None) or self.storage.rows(first_row, count)
            self.ranges[first_row, count] = storage
            if len(self.ranges) > MAX_RANGES:
                self.ranges.popitem(last=False)
        return TorchCache(count, self.graph, storage)

    def clear(self, first_row: int, count: int) -> None:
        """Set some of the rows to zeros."""
        with self.work.alone():
            self.rows(first_row, count).storage.clear()


class StoragePool:
    """Memory that was used before, by model and rows."""

    def __init__(self) -> None:
        self.free: dict[tuple[str, int], list[Storage]] = {}

    def take(self, graph: str, batch: int) -> Storage | None:
        """Return memory that is free, if there is any."""
        waiting = self.free.setdefault((graph, batch), [])
        return waiting.pop() if waiting else None

    def lend(self, graph: str, storage: Storage) -> TorchCache:
        """Return a handle; its memory is free again when nobody holds it."""
        cache = TorchCache(storage.batch, graph, storage)
        # Appending is atomic: whichever thread drops the handle, in whatever state, need not wait for a lock.
        weakref.finalize(cache, self.free.setdefault((graph, storage.batch), []).append, storage)
        return cache
