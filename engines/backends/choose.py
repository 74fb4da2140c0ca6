"""Choose a backend by name; a runtime is imported only when its backend is made."""

import inspect

from mulo_sd.engines.backends.base import Backend, BackendError, Traits, one_line
from mulo_sd.engines.bundle import Bundle
from mulo_sd.engines.named_functions import NameFormError, check_form, function_named
from mulo_sd.engines.numbers import thread_count

BACKENDS = ("ort", "ort-cuda", "trt-rtx", "trt", "torch-cuda")


def check_name(name: str) -> None:
    """Check that a name is one of BACKENDS, or of the form module:factory.

    Raises:
        BackendError: it is not.
    """
    if not isinstance(name, str):  # of a program; mypy would have found it
        raise BackendError(f"backend: expected one of {', '.join(BACKENDS)} or module:factory, got {name!r:.80}")
    if name in BACKENDS:
        return
    try:
        check_form(name, "factory")
    except NameFormError as error:
        if ":" in name:
            raise BackendError(f"backend: {error}") from None
        raise BackendError(
            f"backend: expected one of {', '.join(BACKENDS)} or module:factory, got {name!r:.80}"
        ) from None


def make_backend(name: str, bundle: Bundle, threads: int | None = None) -> Backend:
    """Make a backend for a bundle.

    Args:
        name: One of BACKENDS, or "module:factory" for one of your own: factory(bundle, threads) returns it. The module
            is one that Python finds, or lies in the working folder.
        bundle: Opened and checked.
        threads: For the CPU, 1 to 1024; None takes the runtime's choice.

    Raises:
        SettingsError: the number of threads is out of its range.
        BackendError: an unknown name, a runtime that is not installed, no GPU, a bundle without its plans or
            weights, or a factory that fails or returns no backend.
    """
    threads = thread_count(threads)
    check_name(name)
    if name == "ort":
        from mulo_sd.engines.backends.ort.cpu import OnnxRuntimeBackend

        return OnnxRuntimeBackend(bundle, threads)
    if name == "ort-cuda":
        from mulo_sd.engines.backends.ort.device import OnnxRuntimeDeviceBackend

        return OnnxRuntimeDeviceBackend(bundle)
    if name in ("trt-rtx", "trt"):
        from mulo_sd.engines.backends.tensorrt.backend import TensorRTBackend

        return TensorRTBackend(bundle, name)
    if name == "torch-cuda":
        try:
            from mulo_sd.engines.backends.torch_cuda.open import open_on_gpu
        except ImportError as error:
            raise BackendError(
                f"backend torch-cuda: torch is not installed: {one_line(error)}; pip install 'mulo-sd[reference]'"
            ) from None
        return open_on_gpu(bundle)
    return _made_by_factory(name, bundle, threads)


def _made_by_factory(name: str, bundle: Bundle, threads: int | None) -> Backend:
    try:
        backend: Backend = function_named(name)(bundle, threads)
        check_backend(name, backend)
    except BackendError:
        raise
    except (Exception, SystemExit) as error:  # code from outside may raise anything
        raise BackendError(f"backend {name}: {type(error).__name__}: {one_line(error)}") from None
    return backend


def check_backend(name: str, backend: object) -> None:
    """Hold what a factory returned against what the loop calls.

    Raises:
        BackendError: it is no `Backend`, its name or traits are none, or its traits and its methods contradict each
            other.
    """
    if not isinstance(backend, Backend):
        raise BackendError(
            f"backend {name}: expected an object of a class that derives from engines.Backend, got one of "
            f"{type(backend).__name__}"
        )
    if not isinstance(backend.name, str) or not backend.name or not backend.name.isprintable():
        raise BackendError(f"backend {name}: name: expected a line of text, got {backend.name!r:.80}")
    traits: object = backend.traits
    if not isinstance(traits, Traits):
        got = type(traits).__name__
        raise BackendError(f"backend {name}: traits: expected engines.Traits, got {got}")
    declared = {"score": traits.scores, "scores_of": traits.scores_host_logits, "new_pool": traits.pools}
    declared["feed_with_hidden"] = traits.branches
    by_scores = {"feed_with_hidden"} if traits.scores else set[str]()
    for method, expected in declared.items():
        written = inspect.getattr_static(type(backend), method) is not vars(Backend)[method]
        if expected and not written and method not in by_scores:
            raise BackendError(f"backend {name}: {method}: expected the method that its traits declare, got none")
        # Where an object has traits of its own, somebody has thought of it: not every bundle lets decodes share passes.
        if written and not expected and "traits" not in vars(backend):
            raise BackendError(f"backend {name}: {method}: expected a trait that declares the method, got none")
