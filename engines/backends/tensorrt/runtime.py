"""TensorRT itself: deserialises plans and makes contexts; TensorRT for RTX and TensorRT proper share a Python API."""

import contextlib
import importlib
import time
import weakref
from collections import deque
from pathlib import Path
from typing import Any

from mulo_sd.engines.backends.base import BackendError, one_line
from mulo_sd.engines.backends.host import Host, platform_name
from mulo_sd.engines.backends.tensorrt.cuda import Cuda
from mulo_sd.engines.backends.tensorrt.kernel_file import KernelFile
from mulo_sd.engines.bundle.contract import PLAN_PACKAGES
from mulo_sd.engines.bundle.entries import PlanEntry
from mulo_sd.engines.files.cache_folder import cache_folder

# Kernels come with new shapes, many at the start and few later: they are saved after a pause, and at the end.
SECONDS_BETWEEN_SAVES = 60.0


class Kernels:
    """The kernels that TensorRT for RTX has compiled, shared by all contexts of a bundle, and their file."""

    def __init__(self, cache: Any, file: KernelFile) -> None:
        """Load the file into an empty cache of the runtime."""
        self.cache, self.file = cache, file
        self.is_new = False
        self.saved = time.monotonic()
        content = file.read()
        if content is not None:
            # A file from outside: whatever the runtime makes of it, it is not there.
            with contextlib.suppress(Exception):
                cache.deserialize(content)

    def grew(self) -> None:
        """Note that a new shape was run, so that there may be new kernels."""
        self.is_new = True
        if time.monotonic() - self.saved > SECONDS_BETWEEN_SAVES:
            self.save()

    def save(self) -> None:
        """Write the file if there are new kernels."""
        if not self.is_new or self.file.path is None:
            return
        self.is_new, self.saved = False, time.monotonic()
        try:
            content = self.cache.serialize()
            if content is not None:
                self.file.write(bytes(content))
        except Exception:  # what cannot be kept is compiled again next time
            return


class Runtime:
    """TensorRT: its module, what deserialises plans, and in `errors` the last messages of its log.

    Attributes:
        notes: What does not work as intended, for reports; one line each.
    """

    def __init__(self, name: str, bundle_hash: str) -> None:
        """Start TensorRT.

        Args:
            name: "trt-rtx" or "trt".
            bundle_hash: Of the manifest; compiled kernels are kept by it.

        Raises:
            BackendError: a package is not installed, or there is no NVIDIA GPU.
        """
        self.name, self.bundle_hash = name, bundle_hash
        self.errors: deque[str] = deque(maxlen=4)
        self.notes: list[str] = []
        try:
            self.trt: Any = importlib.import_module(PLAN_PACKAGES[name])
        except (ImportError, OSError) as error:  # OSError: one of its libraries does not load
            raise BackendError(
                f"backend {name}: cannot import {PLAN_PACKAGES[name]} ({one_line(error)}); "
                f"install it with `pip install 'mulo-sd[{name}]'`"
            ) from None
        self.cuda = Cuda(name)  # before the runtime, which without a GPU only logs errors
        self._logger = self._make_logger()
        try:
            self._runtime = self.trt.Runtime(self._logger)
        except Exception as error:  # its bindings raise TypeError where the library returns nothing
            raise self.error("the runtime does not start", error) from None
        self.kernels: Kernels | None = None
        self._configs: dict[int, tuple[Any, Any]] = {}  # by engine, which is held as well

    def _make_logger(self) -> Any:
        trt, errors = self.trt, self.errors

        class Logger(trt.ILogger):  # type: ignore[misc, name-defined]  # the runtime has no type stubs
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                    errors.append(message)

        return Logger()

    def host(self) -> Host:
        """Return this machine as far as plans ask: the runtime that was loaded, the GPU that was taken."""
        return Host(platform_name(), {PLAN_PACKAGES[self.name]: str(self.trt.__version__)}, (self.cuda.gpu(),))

    def error(self, failure: str, reason: object = "it gives no reason") -> BackendError:
        """Return an error that says what failed and why: the last line of TensorRT's log, else `reason`."""
        return BackendError(f"backend {self.name}: {failure}: {one_line(self.errors[-1] if self.errors else reason)}")

    def note(self, line: str) -> None:
        """Note something once."""
        if line not in self.notes:
            self.notes.append(line)

    def engine(self, path: Path, plan: PlanEntry) -> Any:
        """Deserialise a plan."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BackendError(f"{path}: cannot read the plan: {error.strerror or error}") from None
        engine = self._runtime.deserialize_cuda_engine(content)
        if engine is None:
            version = self.trt.__version__
            raise self.error(f"{path}: the plan, built with {plan.version}, does not load in {version} on this GPU")
        return engine

    def _config(self, engine: Any, path: Path) -> Any:
        """Return how TensorRT for RTX is to run an engine: in memory given to it, under CUDA graphs of its own."""
        if id(engine) in self._configs:
            return self._configs[id(engine)][1]
        trt, config = self.trt, engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        try:
            config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        except Exception as error:  # slower without, and right
            self.note(f"runs without CUDA graphs: {one_line(error)}")
        if self.kernels is None:
            cache = config.create_runtime_cache()
            if cache is not None:
                file = KernelFile(cache_folder(), self.cuda.gpu().name, trt.__version__, self.bundle_hash)
                self.kernels = Kernels(cache, file)
                # At the latest when the interpreter ends.
                weakref.finalize(self, self.kernels.save)
        if self.kernels is not None and not config.set_runtime_cache(self.kernels.cache):
            raise self.error(f"{path}: cannot share compiled kernels")
        self._configs[id(engine)] = engine, config
        return config

    def context(self, engine: Any, path: Path) -> Any:
        """Return a new execution context of an engine, which has no memory of its own for what it computes."""
        if self.name == "trt-rtx":
            context = engine.create_execution_context(self._config(engine, path))
        else:
            context = engine.create_execution_context(self.trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        if context is None:
            raise self.error(f"{path}: cannot make an execution context")
        return context

    def weight_bytes(self, engine: Any) -> int:
        """Return the size of an engine's weights on the device; 0 where it does not tell."""
        try:
            return max(int(engine.get_engine_stat(self.trt.EngineStat.TOTAL_WEIGHTS_SIZE)), 0)
        except Exception:  # a figure for a report
            return 0
