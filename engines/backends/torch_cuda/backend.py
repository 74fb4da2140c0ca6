"""The backend: any models in torch on a device, on the CPU too, without a file."""

import copy
import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray

from mulo_sd.engines.backends.base import Backend, BackendError, KVCache, Tensors, Traits, one_line
from mulo_sd.engines.backends.torch_cuda.branched import BranchedRunner, BranchedTarget, HeadRunner
from mulo_sd.engines.backends.torch_cuda.cache import SharedRows, Storage, StoragePool, TorchCache, empty_caches
from mulo_sd.engines.backends.torch_cuda.check import Comparison, compare_kernels
from mulo_sd.engines.backends.torch_cuda.runner import Runner
from mulo_sd.engines.backends.torch_cuda.scores import Sampling, TorchScores
from mulo_sd.engines.backends.torch_cuda.stateless import stateless_graphs, transformers_of
from mulo_sd.engines.backends.torch_cuda.weights import TransformerWeights, pack
from mulo_sd.engines.backends.torch_cuda.work import DeviceWork, host
from mulo_sd.engines.bundle.contract import HEAD, TARGET, TARGET_BRANCHED, slot_count
from mulo_sd.engines.parts import MAX_NODES
from mulo_sd.reference.checkpoints.ta_tok import TATokDecoder
from mulo_sd.reference.models import Models

Kernels = Literal["triton", "torch"]
# What is tried, in order: kernels for few rows, chained by programmatic dependent launch or not, and kernels for any
# number of rows, which make all passes where those for few do not work.
WITH_PDL, WITHOUT_PDL, WIDE_ALONE = "fused kernels with pdl", "fused kernels", "fused kernels, none for few rows"


class TorchBackend(Backend):
    """Runs models in torch; logits stay on the device.

    Several decodes may run at once, from any threads: each pass, and each sampling, is done alone.

    Attributes:
        device: The GPU's name; None on the CPU.
        kernels: "triton" where passes run in kernels of our own, else "torch".
        notes: What was tried and is done without, a line each.
        checks: How far kernels of our own were from torch's, of each model (`self_check`).
    """

    name = "torch-cuda"
    notes: list[str]
    traits = Traits(scores=True, scores_host_logits=True, pools=True, pads_passes=True, branches=True)

    def __init__(
        self,
        models: Models,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
        *,
        slots: Mapping[str, int] | None = None,
        ta_tok: TATokDecoder | None = None,
        kernels: Kernels | None = None,
        graphs: bool | None = None,
        pdl: bool = True,
    ) -> None:
        """Put models on a device.

        Args:
            models: In any precision, on any device; those of transformers that have precision and device already are
                shared, not copied.
            dtype: Of weights, keys and values: float32, float16 or bfloat16. Logits and sampling are float32.
            device: "cpu", "cuda" or one of several GPUs.
            slots: Of each transformer's cache, by graph; None takes `slot_count`.
            ta_tok: What makes features of Tar's semantic ids.
            kernels: "triton" or "torch"; None takes Triton on a GPU where it is there.
            graphs: Whether passes are captured as CUDA graphs; None does so on a GPU.
            pdl: Let a kernel of a pass of few rows start while the one before it ends (programmatic dependent launch).
        """
        place = torch.device(device)
        if str(place) == "cuda":
            place = torch.device("cuda", torch.cuda.current_device())
        self.work = DeviceWork(place)
        self.dtype, self.notes = dtype, cast(list[str], [])
        self.checks: dict[str, Comparison] = {}
        self.device: str | None = None
        if place.type == "cuda":
            self.device = torch.cuda.get_device_name(place)
            # Sums of products in float32, whatever is multiplied.
            torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
            torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
            torch.cuda.synchronize(place)  # models may have been made on another stream a moment ago
        self.runners: dict[str, Runner] = {}
        self.slots = dict(slots or {})
        with self.work.alone():
            for name, model in transformers_of(models).items():
                self.runners[name] = Runner(pack(model, dtype, place), self.work, self.notes)
                self.slots.setdefault(name, slot_count(model.config))
                if graphs is not None:
                    self.runners[name].uses_graphs = graphs and place.type == "cuda"
            self.branched = self._branched(models)
            self.graphs = stateless_graphs(models, ta_tok, dtype, place)
        self.sampling, self.pool = Sampling(self.work, self.notes), StoragePool()
        self.kernels: Kernels = "torch"
        wanted = kernels or ("triton" if place.type == "cuda" else "torch")
        if wanted == "triton":
            self.use_triton(pdl)

    def _branched(self, models: Models) -> dict[str, BranchedRunner]:
        """Return what runs the graphs with branches: the target with its own weights, and its head if there is one."""
        target = self.runners[TARGET].weights
        branched: dict[str, BranchedRunner] = {TARGET_BRANCHED: BranchedTarget(target, self.work)}
        if models.head is not None:
            branched[HEAD] = HeadRunner(copy.deepcopy(models.head), self.dtype, self.work)
        for name, runner in branched.items():
            self.slots.setdefault(name, slot_count(runner.config, MAX_NODES))
        return branched

    def weights(self, graph: str) -> TransformerWeights:
        """Return a transformer's weights as they lie on the device."""
        return self.runners[graph].weights

    def use_triton(self, pdl: bool = True) -> bool:
        """Let passes run in kernels of our own if they agree with torch's; return whether any do.

        Kernels that do not are left for others, and `notes` says why; at last nothing changes.

        Args:
            pdl: As for the constructor.
        """
        tries = (WITH_PDL, WITHOUT_PDL, WIDE_ALONE) if pdl else (WITHOUT_PDL, WIDE_ALONE)
        for attempt in tries:
            failed = self._try_triton(attempt)
            if failed is None:
                self.kernels = "triton"
                self.sampling.use_kernels({runner.weights.config.vocabulary for runner in self.runners.values()})
                self._forget_graphs()
                return True
            hopeless = attempt == tries[-1] or importlib.util.find_spec("triton") is None
            instead = "torch's own are used" if hopeless else "others are tried"
            self.notes.append(f"{attempt}: {failed}; {instead}")
            if hopeless:
                break
        self.use_torch()
        return False

    def _try_triton(self, attempt: str) -> str | None:
        """Choose kernels of our own; return why they cannot be used, or None."""
        try:
            from mulo_sd.engines.backends.torch_cuda.few_rows import FewRows
            from mulo_sd.engines.backends.torch_cuda.wide import WidePass

            with self.work.alone():
                for runner in self.runners.values():
                    runner.few = None
                    if attempt != WIDE_ALONE:
                        runner.few = FewRows(runner.weights, self.work.device, pdl=attempt == WITH_PDL)
                    runner.wide = WidePass(runner.weights, self.work.device)
            return self.self_check()
        except Exception as error:  # no triton, no compiler, a GPU that it does not know
            return f"{type(error).__name__}: {one_line(error)}"

    def use_torch(self) -> None:
        """Let all passes run in torch's own operations."""
        for runner in self.runners.values():
            runner.few = runner.wide = None
        self.kernels, self.sampling.kernels = "torch", None
        self._forget_graphs()

    def _forget_graphs(self) -> None:
        """Drop what was captured with other kernels; of caches in use, it was captured under another key or agrees."""
        for waiting in self.pool.free.values():
            waiting.clear()

    def self_check(self) -> str | None:
        """Run random passes of each transformer both ways; return why kernels of our own cannot be used, or None."""
        for name, runner in self.runners.items():
            with self.work.alone():
                comparison = compare_kernels(runner.weights, runner.kernels, self.slots[name])
            self.checks[name] = comparison
            if not comparison.agrees:
                error, tolerance = comparison
                return f"{name}: logits differ by {error:.2g} of their size, expected {tolerance:g} at most"
        return None

    @contextmanager
    def _exactly(self) -> Iterator[None]:
        """Convolve in full precision and in one order: a code that a sampler chooses may hang on the last bit."""
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Run a stateless graph.

        Raises:
            BackendError: there is none of that name.
        """
        if graph not in self.graphs:
            raise BackendError(f"graph {graph}: expected one of {', '.join(sorted(self.graphs))}")
        with self.work.alone(), self._exactly():
            outputs = self.graphs[graph]({name: self.work.put(value) for name, value in inputs.items()})
            return {name: host(value) for name, value in outputs.items()}

    def new_cache(self, graph: str, batch: int) -> TorchCache:
        """Return zeroed keys and values; memory that an earlier cache had comes with the passes captured over it."""
        with self.work.alone():
            storage = self.pool.take(graph, batch)
            if storage is None:
                storage = self._storage(graph, batch)
            storage.clear()
            return self.pool.lend(graph, storage)

    def _storage(self, graph: str, rows: int) -> Storage:
        config, slots = (self.branched.get(graph) or self.weights(graph)).config, self.slots[graph]
        caches = empty_caches(config, rows, slots, self.dtype, self.work.device)
        with torch.inference_mode(False):
            return Storage(*caches, slots)

    def new_pool(self, graph: str, rows: int) -> SharedRows:
        """Return zeroed keys and values of which decodes take rows."""
        with self.work.alone():
            storage = self._storage(graph, rows)
            storage.clear()
            return SharedRows(graph, storage, self.work)

    def _pass(self, graph: str, cache: KVCache, inputs: Tensors) -> TorchScores:
        assert isinstance(cache, TorchCache)
        end, slots = int(inputs["write_index"].max()) + inputs["tokens"].shape[1], cache.storage.slots
        if end > slots or inputs["slot_ranks"].shape[1] > slots:
            got = max(end, inputs["slot_ranks"].shape[1])
            raise BackendError(f"graph {graph}: expected writes into {slots} slots, got one that ends at {got}")
        if graph in self.branched:
            return TorchScores(self.sampling, *self.branched[graph].run(cache.storage, inputs))
        return TorchScores(self.sampling, self.runners[graph].run(cache.storage, inputs))

    def score(self, graph: str, cache: KVCache, inputs: Tensors) -> TorchScores:
        """Run one pass; its logits stay on the device. Rows may be of several requests (`TorchScores.part`)."""
        with self.work.alone():
            return self._pass(graph, cache, inputs)

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> NDArray[np.float32]:
        """Run one pass; return its logits on the host."""
        with self.work.alone():
            return self._pass(graph, cache, inputs).logits()

    def scores_of(self, logits: NDArray[np.float32]) -> TorchScores:
        """Return the scores of given logits, on the device."""
        with self.work.alone():
            return TorchScores(self.sampling, self.work.put(logits))

    def keep_slots(self, graph: str, cache: KVCache, slots: NDArray[np.int64]) -> None:
        """Move slots to the front, on the device."""
        assert isinstance(cache, TorchCache)
        if len(slots) == 0 or int(slots[-1]) == len(slots) - 1:
            return
        with self.work.alone():
            cache.storage.keep(self.work.put(slots))
