"""Logits that stay on the device, sampled and judged by the bundle's plans: tokens and decisions come to the host."""

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.backends.tensorrt.cuda import ALIGNMENT, Cuda, DeviceBuffer, aligned
from mulo_sd.engines.backends.tensorrt.leases import Lease, Leases
from mulo_sd.engines.backends.tensorrt.plans import LoadedPlan, Placed
from mulo_sd.engines.backends.tensorrt.slot_runs import slot_runs
from mulo_sd.engines.rules.anchor import Anchor
from mulo_sd.engines.rules.noise import NoiseSource
from mulo_sd.engines.scores import Floats, Tokens, setting_inputs
from mulo_sd.engines.settings import Settings

FLOAT_BYTES = 4
MAX_ARRAYS = 8
# Of one stream of one image; the rows of a larger one are copied as they are needed.
MAX_NOISE_BYTES = 16 * 2**20


class DeviceArrays:
    """Copies on the device of arrays that come again and do not change: tables of neighbours."""

    def __init__(self, cuda: Cuda) -> None:
        self.cuda = cuda
        # With the array itself: while it is held, no other has its id.
        self.held: OrderedDict[int, tuple[NDArray[Any], DeviceBuffer]] = OrderedDict()

    def of(self, array: NDArray[Any]) -> Placed:
        """Return an array's copy."""
        key = id(array)
        if key not in self.held:
            content = np.ascontiguousarray(array)
            buffer = DeviceBuffer(self.cuda, content.nbytes)
            self.cuda.upload(buffer.address, content)
            self.held[key] = array, buffer
            if len(self.held) > MAX_ARRAYS:
                self.held.popitem(last=False)
        self.held.move_to_end(key)
        return Placed(array.shape, self.held[key][1].address)


class NoiseTable:
    """The noise of one stream of one image, Float32[cells, V], of which blocks are copied when they are asked for."""

    def __init__(self, cuda: Cuda, source: NoiseSource) -> None:
        self.cuda, self.row_bytes = cuda, source.vocabulary * FLOAT_BYTES
        self.buffer = DeviceBuffer(cuda, source.cells * self.row_bytes)
        self.copied: set[int] = set()

    def with_rows(self, source: NoiseSource, cells: Tokens) -> int:
        """Return the table's address; the rows of the cells are there."""
        for number in np.unique(cells // source.block).tolist():
            if number not in self.copied:
                first = number * source.block
                rows = source.rows(range(first, min(first + source.block, source.cells)))
                self.cuda.upload(self.buffer.address + first * self.row_bytes, rows)
                self.copied.add(number)
        return self.buffer.address


class Sampling:
    """What sampling needs beside logits, shared by all scores of a backend; used under its lock."""

    def __init__(self, cuda: Cuda, lock: threading.Lock, plan: Callable[[str], LoadedPlan]) -> None:
        """Prepare.

        Args:
            cuda: The stream on which everything is in order.
            lock: The backend's.
            plan: Returns a graph's plan, loaded; called with the lock held.
        """
        self.cuda, self.lock, self.plan = cuda, lock, plan
        self.leases = Leases(cuda, "logits")
        self.arrays = DeviceArrays(cuda)
        self.tables: weakref.WeakKeyDictionary[NoiseSource, NoiseTable] = weakref.WeakKeyDictionary()
        self.gathered: dict[str, DeviceBuffer] = {}

    def rows(self, name: str, address: int, row_bytes: int, rows: Tokens) -> int:
        """Return where rows of a table lie one after another: in the table, or gathered in a buffer of that name."""
        first, count = int(rows[0]), len(rows)
        start = address + first * row_bytes
        if int(rows[-1]) - first == count - 1 and start % ALIGNMENT == 0:
            return start
        buffer = self.gathered.get(name)
        if buffer is None or buffer.size_bytes < count * row_bytes:
            self.gathered.pop(name, None)
            buffer = self.gathered[name] = DeviceBuffer(self.cuda, count * row_bytes)
        steps = np.diff(rows)
        if count > 1 and (steps == steps[0]).all():  # one below the other in the grid, say
            self.cuda.copy_rows(buffer.address, row_bytes, start, int(steps[0]) * row_bytes, row_bytes, count)
        else:
            for run in slot_runs(rows):
                place = buffer.address + run.destination * row_bytes
                self.cuda.copy(place, address + run.source * row_bytes, run.length * row_bytes)
        return buffer.address

    def noise(self, source: NoiseSource, cells: Tokens) -> NDArray[np.float32] | Placed:
        """Return the noise of cells, Float32[n, V]: on the device, where an image's table is small enough for it."""
        row_bytes = source.vocabulary * FLOAT_BYTES
        if source.cells * row_bytes > MAX_NOISE_BYTES:
            return source.rows(cells)
        table = self.tables.get(source)
        if table is None:
            table = self.tables[source] = NoiseTable(self.cuda, source)
        address = self.rows("noise", table.with_rows(source, cells), row_bytes, cells)
        return Placed((len(cells), source.vocabulary), address)


class DeviceScores:
    """Logits of one pass, Float32[B, T, V], as `engines.scores.Scores` has them."""

    def __init__(
        self, sampling: Sampling, lease: Lease, address: int, pitch: int, batch: int, fed: int, vocabulary: int
    ) -> None:
        """Describe logits that lie on the device.

        Args:
            sampling: The backend's.
            lease: Whose memory it is.
            address: Of the first logit.
            pitch: Bytes from a row of the batch to the next.
            batch: B.
            fed: T.
            vocabulary: V.
        """
        self.sampling, self.lease = sampling, lease
        self.address, self.pitch = address, pitch
        self.batch, self.fed, self.vocabulary = batch, fed, vocabulary
        self.row_bytes = vocabulary * FLOAT_BYTES

    def part(self, first_row: int, batch: int, fed: int) -> "DeviceScores":
        """Return those of one of the decodes that shared a pass: its rows, and the tokens that it fed."""
        address = self.address + first_row * self.pitch
        return DeviceScores(self.sampling, self.lease, address, self.pitch, batch, fed, self.vocabulary)

    def logits(self) -> Floats:
        """Return all of them on the host."""
        found = np.empty((self.batch, self.fed, self.vocabulary), dtype=np.float32)
        with self.sampling.lock:
            cuda = self.sampling.cuda
            cuda.use()
            for row, part in enumerate(found):
                cuda.download(part, self.address + row * self.pitch)
            cuda.synchronise()
        return found

    def last(self) -> "DeviceScores":
        """Return the last row's, in memory of their own."""
        pitch = aligned(self.row_bytes)
        with self.sampling.lock:
            cuda = self.sampling.cuda
            cuda.use()
            lease = self.sampling.leases.take(self.batch * pitch)
            start = self.address + (self.fed - 1) * self.row_bytes
            cuda.copy_rows(lease.buffer.address, pitch, start, self.pitch, self.row_bytes, self.batch)
        return DeviceScores(self.sampling, lease, lease.buffer.address, pitch, self.batch, 1, self.vocabulary)

    def _distribution(self, rows: Tokens, settings: Settings, raw: bool = False) -> dict[str, NDArray[Any] | Placed]:
        """Return what sampler and acceptance need to make p of rows."""
        shape, numbers = (len(rows), self.vocabulary), np.asarray(rows)
        cond = self.sampling.rows("cond", self.address, self.row_bytes, numbers)
        uncond = cond
        if self.batch > 1:
            address = self.address + (self.batch - 1) * self.pitch
            uncond = self.sampling.rows("uncond", address, self.row_bytes, numbers)
        logits = {"cond_logits": Placed(shape, cond), "uncond_logits": Placed(shape, uncond)}
        return {**setting_inputs(settings, raw), **logits}

    def draw(self, rows: Tokens, settings: Settings, noise: Floats) -> tuple[Tokens, Floats]:
        """Sample by given noise."""
        with self.sampling.lock:
            self.sampling.cuda.use()
            inputs = self._distribution(rows, settings) | {"noise": noise}
            found = self.sampling.plan("sampler").execute(inputs, wanted=("tokens", "log_probs"))
        return found["tokens"], found["log_probs"]

    def sample(
        self, rows: Tokens, cells: Tokens, settings: Settings, noise: NoiseSource, anchor: Anchor | None
    ) -> Tokens:
        """Sample by the cells' own noise."""
        cells = np.asarray(cells, dtype=np.int64)
        towards = None if anchor is None else noise.rows(cells) + anchor.bonus(cells)
        with self.sampling.lock:
            self.sampling.cuda.use()
            own = self.sampling.noise(noise, cells) if towards is None else towards
            inputs = self._distribution(rows, settings) | {"noise": own}
            tokens: Tokens = self.sampling.plan("sampler").execute(inputs, wanted=("tokens",))["tokens"]
        return tokens

    def judge(
        self, rows: Tokens, settings: Settings, draft_tokens: Tokens, neighbours: Tokens, raw: bool
    ) -> tuple[Floats, Floats]:
        """Pool the target's probability around draft tokens."""
        with self.sampling.lock:
            self.sampling.cuda.use()
            inputs = self._distribution(rows, settings, raw)
            inputs |= {"draft_tokens": draft_tokens, "neighbours": self.sampling.arrays.of(neighbours)}
            found = self.sampling.plan("acceptance").execute(inputs, wanted=("pooled_probs", "entropies"))
        return found["pooled_probs"], found["entropies"]
