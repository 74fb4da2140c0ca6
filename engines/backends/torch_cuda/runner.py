"""Passes of one model: padded to few lengths, under CUDA graphs, in kernels made for few tokens or for many."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mulo_sd.engines.backends.base import one_line
from mulo_sd.engines.backends.torch_cuda.cache import SLOT_STEP, Storage, bucket, rounded_up
from mulo_sd.engines.backends.torch_cuda.eager import run_eagerly
from mulo_sd.engines.backends.torch_cuda.weights import TransformerWeights
from mulo_sd.engines.backends.torch_cuda.work import DeviceWork

# Rows of a pass, batch times tokens, that is captured: more keep the GPU busy for longer than their launches take, and
# the logits that a graph holds are large.
MAX_CAPTURED = 4096


class CapturedPass:
    """A CUDA graph of a pass over one cache's memory; its logits lie where they lay when it was captured.

    It holds addresses of buffers of `kernels`, which live as long as it does therefore.
    """

    def __init__(self, graph: torch.cuda.CUDAGraph, logits: Tensor, kernels: Any) -> None:
        self.graph, self.logits, self.kernels = graph, logits, kernels


class Runner:
    """Runs one model's passes.

    Attributes:
        few: Kernels for few rows, an `engines.backends.torch_cuda.few_rows.FewRows`; None where there are none.
        wide: For all other passes, an `engines.backends.torch_cuda.wide.WidePass`; None where torch's own make them.
        uses_graphs: Whether a pass that comes a second time is captured.
        pads: Whether passes are padded, so that few lengths are captured.
        notes: What went wrong and was done without.
    """

    def __init__(self, weights: TransformerWeights, work: DeviceWork, notes: list[str]) -> None:
        """Prepare passes.

        Args:
            weights: On the device.
            work: Where passes are made.
            notes: As above.
        """
        self.weights, self.work, self.notes = weights, work, notes
        self.few: Any = None
        self.wide: Any = None
        self.uses_graphs = self.pads = work.stream is not None

    def run(self, storage: Storage, inputs: Mapping[str, NDArray[Any]]) -> Tensor:
        """Run a pass; return its logits, Float32[B, T, V], a tensor of their own.

        Args:
            storage: Keys and values; written.
            inputs: As `engines.backends.base.Backend.feed` takes them; rows may differ in everything.
        """
        tokens = inputs["tokens"]
        fed = tokens.shape[1]
        if (tokens < 0).any():  # a prefill, or rows among which one is: embeddings come along, and nothing is captured
            storage.send(inputs, fed)
            attended = self._attended(storage, inputs, fed)
            prefix = self.work.put(np.asarray(inputs["prefix"], dtype=np.float32))
            views = storage.views(fed)
            if self.wide is not None and self.wide.takes(storage.batch * fed):
                logits: Tensor = self.wide.run(storage.keys, storage.values, views, prefix)
            else:
                logits = run_eagerly(self.weights, storage.keys, storage.values, views, attended, prefix)
            return logits.float()
        length = bucket(fed) if self.pads else fed
        storage.send(inputs, length)
        ours = self._kernels_for(storage.batch * length) is not None
        # Our kernels read from the device how many slots are filled: one graph a length.
        key = (length, 0 if ours else self._attended(storage, inputs, length))
        logits = self._captured_or_not(storage, key)
        return logits[:, :fed].to(torch.float32, copy=True)

    @property
    def kernels(self) -> tuple[Any, ...]:
        """Kernels of our own; the first that takes a pass makes it."""
        return tuple(kernels for kernels in (self.few, self.wide) if kernels is not None)

    def _kernels_for(self, rows: int) -> Any:
        """Return the kernels that make a pass of so many rows, batch times tokens; None where torch's own do."""
        return next((kernels for kernels in self.kernels if kernels.takes(rows)), None)

    def _attended(self, storage: Storage, inputs: Mapping[str, NDArray[Any]], length: int) -> int:
        filled = int(inputs["write_index"].max()) + length
        return min(rounded_up(filled, SLOT_STEP), storage.capacity) if self.pads else filled

    def _captured_or_not(self, storage: Storage, key: tuple[int, int]) -> Tensor:
        captured = storage.graphs.get(key)
        worth_it = self.uses_graphs and storage.batch * key[0] <= MAX_CAPTURED
        if captured is None and key in storage.seen and worth_it:
            captured = self._capture(storage, key)
        if captured is None:
            storage.seen.add(key)
            return self._compute(storage, key)
        captured.graph.replay()
        logits: Tensor = captured.logits
        return logits

    def _compute(self, storage: Storage, key: tuple[int, int]) -> Tensor:
        length, attended = key
        if attended:
            return run_eagerly(self.weights, storage.keys, storage.values, storage.views(length), attended)
        kernels = self._kernels_for(storage.batch * length)
        logits: Tensor = kernels.run(storage.keys, storage.values, storage.views(length))
        return logits

    def _capture(self, storage: Storage, key: tuple[int, int]) -> CapturedPass | None:
        """Capture a pass; it has run before, so that kernels are compiled and libraries are ready."""
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize(self.work.device)
        if storage.graph_memory is None:
            storage.graph_memory = torch.cuda.graph_pool_handle()
        try:
            graph.capture_begin(pool=storage.graph_memory, capture_error_mode="thread_local")
            try:
                logits = self._compute(storage, key)
            except BaseException:
                with suppress(RuntimeError):  # an invalidated capture says so once more
                    graph.capture_end()
                raise
            graph.capture_end()
        except Exception as error:  # whatever a library does that a capture does not allow
            self.uses_graphs = False
            self.notes.append(f"no CUDA graphs: a pass could not be captured: {one_line(error)}")
            return None
        captured = storage.graphs[key] = CapturedPass(graph, logits, self._kernels_for(storage.batch * key[0]))
        return captured
