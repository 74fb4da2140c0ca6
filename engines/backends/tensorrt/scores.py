"""Logits that stay on the device, sampled and judged by the bundle's plans: tokens and decisions come to the host."""

import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.backends.base import Floats, PartedScores, Tokens, Wanted
from mulo_sd.engines.backends.cell_noise import CellNoise
from mulo_sd.engines.backends.device_arrays import DeviceArrays
from mulo_sd.engines.backends.device_scores import DeviceScores, split_by
from mulo_sd.engines.backends.host_scores import setting_inputs
from mulo_sd.engines.backends.tensorrt.cuda import ALIGNMENT, Cuda, DeviceBuffer, aligned
from mulo_sd.engines.backends.tensorrt.leases import Lease, Leases
from mulo_sd.engines.backends.tensorrt.plans import LoadedPlan, Placed
from mulo_sd.engines.backends.tensorrt.slot_runs import slot_runs
from mulo_sd.engines.bundle.contract import SAMPLER
from mulo_sd.engines.distribution import Distribution
from mulo_sd.engines.rules.noise import NoiseSource

FLOAT_BYTES = 4
# Of one stream of one image; the rows of a larger one are copied as they are needed.
MAX_NOISE_BYTES = 16 * 2**20


class Uploaded(NamedTuple):
    """An array's copy on the device, whose memory goes with it."""

    placed: Placed
    buffer: DeviceBuffer


class Rows(NamedTuple):
    """Some rows, Int[n], of a table at an address on the device."""

    address: int
    rows: Tokens


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


def _uploaded(cuda: Cuda, array: NDArray[Any]) -> Uploaded:
    content = np.ascontiguousarray(array)
    buffer = DeviceBuffer(cuda, content.nbytes)
    cuda.upload(buffer.address, content)
    return Uploaded(Placed(array.shape, buffer.address), buffer)


def groups_of(wanted: Sequence[Wanted], most: int) -> list[list[Wanted]]:
    """Return samples in their order, in groups of at most so many rows where one is not more by itself."""
    groups: list[list[Wanted]] = []
    rows = 0
    for one in wanted:
        rows += len(one.rows)
        if not groups or rows > most:
            groups.append([])
            rows = len(one.rows)
        groups[-1].append(one)
    return groups


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
        self.arrays = DeviceArrays(partial(_uploaded, cuda))
        self.tables: weakref.WeakKeyDictionary[NoiseSource, NoiseTable] = weakref.WeakKeyDictionary()
        self.gathered: dict[str, DeviceBuffer] = {}

    def rows(self, name: str, row_bytes: int, *pieces: Rows) -> int:
        """Return where rows of tables lie one after another: in their table, or gathered in a buffer of that name."""
        count = sum(len(piece.rows) for piece in pieces)
        if len(pieces) == 1:
            address, rows = pieces[0]
            start = address + int(rows[0]) * row_bytes
            if int(rows[-1]) - int(rows[0]) == count - 1 and start % ALIGNMENT == 0:
                return start
        buffer = self.gathered.get(name)
        if buffer is None or buffer.size_bytes < count * row_bytes:
            self.gathered.pop(name, None)
            buffer = self.gathered[name] = DeviceBuffer(self.cuda, count * row_bytes)
        target = buffer.address
        for piece in pieces:
            self._copy(target, piece, row_bytes)
            target += len(piece.rows) * row_bytes
        return buffer.address

    def _copy(self, target: int, piece: Rows, row_bytes: int) -> None:
        """Copy rows of a table one behind the other."""
        address, rows = piece
        steps = np.diff(rows)
        if len(rows) > 1 and (steps == steps[0]).all():  # one below the other in the grid, say
            start = address + int(rows[0]) * row_bytes
            self.cuda.copy_rows(target, row_bytes, start, int(steps[0]) * row_bytes, row_bytes, len(rows))
        else:
            for run in slot_runs(rows):
                place = target + run.destination * row_bytes
                self.cuda.copy(place, address + run.source * row_bytes, run.length * row_bytes)

    def most_rows(self) -> int:
        """Return how many rows the sampler's plan takes at once."""
        return max(ranges["rows"][-1] for ranges in self.plan(SAMPLER).profiles)

    @staticmethod
    def keeps(noise: CellNoise) -> bool:
        """Whether noise comes from a table on the device: there is no anchor, and an image's table is small enough."""
        table_bytes = noise.source.cells * noise.source.vocabulary * FLOAT_BYTES
        return noise.anchor is None and table_bytes <= MAX_NOISE_BYTES

    def noise(self, *noises: CellNoise) -> Placed:
        """Return noise that is kept, of one image or of several, Float32[n, V], on the device."""
        vocabulary = noises[0].source.vocabulary
        pieces = [Rows(self._table(one.source).with_rows(one.source, one.cells), one.cells) for one in noises]
        address = self.rows("noise", vocabulary * FLOAT_BYTES, *pieces)
        return Placed((sum(len(one.cells) for one in noises), vocabulary), address)

    def _table(self, source: NoiseSource) -> NoiseTable:
        table = self.tables.get(source)
        if table is None:
            table = self.tables[source] = NoiseTable(self.cuda, source)
        return table


class TensorRTScores(DeviceScores, PartedScores):
    """Logits of one pass in device memory, sampled and judged by the bundle's plans."""

    def __init__(
        self,
        sampling: Sampling,
        lease: Lease,
        address: int,
        pitch: int,
        batch: int,
        fed: int,
        vocabulary: int,
        hidden: Floats | None = None,
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
            hidden: Float32[B, T, dim], of graphs that give hidden states; on the host.
        """
        self.sampling, self.lease = sampling, lease
        self.address, self.pitch = address, pitch
        self.batch, self.fed, self.vocabulary = batch, fed, vocabulary
        self.row_bytes = vocabulary * FLOAT_BYTES
        self.states = hidden

    def hidden(self) -> Floats:
        """Return the hidden states."""
        return super().hidden() if self.states is None else self.states

    def part(self, first_row: int, batch: int, fed: int) -> "TensorRTScores":
        """Return those of one of the decodes that shared a pass: its rows, and the tokens that it fed."""
        address = self.address + first_row * self.pitch
        states = None if self.states is None else self.states[first_row : first_row + batch, :fed]
        return TensorRTScores(self.sampling, self.lease, address, self.pitch, batch, fed, self.vocabulary, states)

    def logits(self) -> Floats:
        """Return all of them on the host."""
        logits = np.empty((self.batch, self.fed, self.vocabulary), dtype=np.float32)
        with self.sampling.lock:
            cuda = self.sampling.cuda
            cuda.use()
            for row, part in enumerate(logits):
                cuda.download(part, self.address + row * self.pitch)
            cuda.synchronise()
        return logits

    def last(self) -> "TensorRTScores":
        """Return the last row's, in memory of their own."""
        pitch = aligned(self.row_bytes)
        with self.sampling.lock:
            cuda = self.sampling.cuda
            cuda.use()
            lease = self.sampling.leases.take(self.batch * pitch)
            start = self.address + (self.fed - 1) * self.row_bytes
            cuda.copy_rows(lease.buffer.address, pitch, start, self.pitch, self.row_bytes, self.batch)
        states = None if self.states is None else self.states[:, -1:].copy()
        return TensorRTScores(self.sampling, lease, lease.buffer.address, pitch, self.batch, 1, self.vocabulary, states)

    def _run(
        self,
        graph: str,
        rows: Tokens,
        distribution: Distribution,
        inputs: Mapping[str, Any],
        outputs: tuple[str, ...],
    ) -> dict[str, NDArray[Any]]:
        noise = inputs.get("noise")
        if isinstance(noise, CellNoise) and not self.sampling.keeps(noise):
            inputs = {"noise": noise.on_host()}  # made before others wait for the lock
        with self.sampling.lock:
            self.sampling.cuda.use()
            placed: dict[str, Any] = self._placed([Rows(self.address, rows)], self.batch) | setting_inputs(distribution)
            for name, value in inputs.items():
                if isinstance(value, CellNoise):
                    placed[name] = self.sampling.noise(value)
                else:
                    placed[name] = self.sampling.arrays.of(value).placed if name == "neighbours" else value
            return self.sampling.plan(graph).execute(placed, wanted=outputs)

    def sample_together(self, wanted: Sequence[Wanted], distribution: Distribution) -> list[Tokens]:
        """Sample for several decodes, by as few runs of the plan as take all their rows."""
        with self.sampling.lock:
            most = self.sampling.most_rows()
        return [tokens for some in groups_of(wanted, most) for tokens in self._sample_once(some, distribution)]

    def _sample_once(self, wanted: Sequence[Wanted], distribution: Distribution) -> list[Tokens]:
        noises = [CellNoise(one.noise, one.cells, one.anchor) for one in wanted]
        on_device = all(map(self.sampling.keeps, noises))
        noise: Any = None if on_device else np.concatenate([one.on_host() for one in noises])
        with self.sampling.lock:
            self.sampling.cuda.use()
            firsts = [Rows(self.address + one.first_row * self.pitch, one.rows) for one in wanted]
            placed: dict[str, Any] = self._placed(firsts, wanted[0].batch) | setting_inputs(distribution)
            placed["noise"] = self.sampling.noise(*noises) if on_device else noise
            tokens = self.sampling.plan(SAMPLER).execute(placed, wanted=("tokens",))["tokens"]
        return split_by(wanted, tokens)

    def _placed(self, firsts: Sequence[Rows], batch: int) -> dict[str, Any]:
        """Return where logits lie, conditional and unconditional: rows of each batch's first and last."""
        shape = (sum(len(first.rows) for first in firsts), self.vocabulary)
        cond = self.sampling.rows("cond", self.row_bytes, *firsts)
        uncond = cond
        if batch > 1:
            lasts = [Rows(first.address + (batch - 1) * self.pitch, first.rows) for first in firsts]
            uncond = self.sampling.rows("uncond", self.row_bytes, *lasts)
        return {"cond_logits": Placed(shape, cond), "uncond_logits": Placed(shape, uncond)}
