"""Choose a backend by name; a runtime is imported only when its backend is made."""

from engines.backends.base import Backend, BackendError
from engines.bundle import Bundle

BACKENDS = ("ort", "trt-rtx", "trt")


def make_backend(name: str, bundle: Bundle, threads: int | None = None) -> Backend:
    """Make a backend for a bundle.

    Args:
        name: One of BACKENDS.
        bundle: Opened and checked.
        threads: For the CPU; None takes the runtime's choice.

    Raises:
        BackendError: an unknown name, a runtime that is not installed, no GPU, or a bundle without its plans.
    """
    if name == "ort":
        from engines.backends.onnx_runtime import OnnxRuntimeBackend

        return OnnxRuntimeBackend(bundle, threads)
    if name in ("trt-rtx", "trt"):
        from engines.backends.tensorrt import TensorRTBackend

        return TensorRTBackend(bundle, name)
    raise BackendError(f"backend: expected one of {', '.join(BACKENDS)}, got {name!r}")
