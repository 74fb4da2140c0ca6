"""A pipeline from a bundle's folder and a backend's name."""

from pathlib import Path

from mulo_sd.engines.backends import make_backend
from mulo_sd.engines.bundle import open_bundle
from mulo_sd.engines.numbers import thread_count
from mulo_sd.engines.service.pipeline import Pipeline


def load(path: Path | str, backend: str = "ort", threads: int | None = None, text_model: str | None = None) -> Pipeline:
    """Open a bundle and make it ready to draw.

    Args:
        path: The bundle's folder.
        backend: "ort", "ort-cuda", "trt-rtx", "trt", "torch-cuda", or "module:factory" for one of your own, whose
            module is one that Python finds, or lies in the working folder.
        threads: For the CPU, on "ort" or one of your own, 1 to 1024; None takes the runtime's choice.
        text_model: Folder or name of flan-t5-xl (LlamaGen's captions) or of Tar's language model.

    Raises:
        SettingsError: the path is none, the number of threads is out of its range, or the text model is no text.
        BundleError: the bundle is missing, incomplete, changed, or of a newer schema.
        BackendError: the backend cannot be used here.
    """
    threads = thread_count(threads)
    bundle = open_bundle(path)
    return Pipeline(bundle, make_backend(backend, bundle, threads), text_model)
