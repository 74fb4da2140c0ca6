"""Choose a backend by name; a runtime is imported only when its backend is made."""

import importlib

from engines.backends.base import Backend, BackendError, one_line
from engines.bundle import Bundle
from engines.numbers import thread_count

BACKENDS = ("ort", "ort-cuda", "trt-rtx", "trt", "torch-cuda")


def make_backend(name: str, bundle: Bundle, threads: int | None = None) -> Backend:
    """Make a backend for a bundle.

    Args:
        name: One of BACKENDS, or "module:factory" for one of your own: factory(bundle, threads) returns it.
        bundle: Opened and checked.
        threads: For the CPU, 1 to 1024; None takes the runtime's choice.

    Raises:
        SettingsError: the number of threads is out of its range.
        BackendError: an unknown name, a runtime that is not installed, no GPU, a bundle without its plans or
            weights, or a factory that cannot be called.
    """
    threads = thread_count(threads)
    if name == "ort":
        from engines.backends.onnx_runtime import OnnxRuntimeBackend

        return OnnxRuntimeBackend(bundle, threads)
    if name == "ort-cuda":
        from engines.backends.onnx_runtime_device import OnnxRuntimeDeviceBackend

        return OnnxRuntimeDeviceBackend(bundle)
    if name in ("trt-rtx", "trt"):
        from engines.backends.tensorrt import TensorRTBackend

        return TensorRTBackend(bundle, name)
    if name == "torch-cuda":
        try:
            from engines.backends.torch_cuda.open import open_on_gpu
        except ImportError as error:
            raise BackendError(
                f"backend torch-cuda: torch is not installed: {one_line(error)}; pip install 'mulo-sd[reference]'"
            ) from None
        return open_on_gpu(bundle)
    if ":" in name:
        return _made_by_factory(name, bundle, threads)
    raise BackendError(f"backend: expected one of {', '.join(BACKENDS)} or module:factory, got {name!r}")


def _made_by_factory(name: str, bundle: Bundle, threads: int | None) -> Backend:
    module, _, factory = name.partition(":")
    try:
        backend: Backend = getattr(importlib.import_module(module), factory)(bundle, threads)
    except Exception as error:  # code from outside may raise anything
        raise BackendError(f"backend {name}: {type(error).__name__}: {one_line(error)}") from None
    missing = [part for part in ("name", "run", "new_cache", "feed", "keep_slots") if not hasattr(backend, part)]
    if missing:
        raise BackendError(f"backend {name}: expected an engines.Backend, got one without {', '.join(missing)}")
    return backend
