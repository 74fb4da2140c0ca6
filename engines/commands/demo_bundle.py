"""The folder of the demo bundle, and how it is built: by the build command, in another process."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from mulo_sd.engines.bundle import BundleError
from mulo_sd.engines.files.paths import expanded
from mulo_sd.processes import environment

ENVIRONMENT_VARIABLE = "MULO_SD_BUNDLES"


def bundle_path(models: str, precision: str) -> Path:
    """Return a bundle's folder: below $MULO_SD_BUNDLES, or below `bundles` in the working folder."""
    return expanded(os.environ.get(ENVIRONMENT_VARIABLE) or "bundles") / f"{models}-{precision}"


def demo_bundle_path(precision: str = "fp32") -> Path:
    """Return the demo bundle's folder."""
    return bundle_path("demo", precision)


def _demo_is_installed() -> bool:
    """Whether the demo's weights lie where the reference looks for them; importing that would load torch."""
    reference = importlib.util.find_spec("mulo_sd.reference")
    folders = [] if reference is None else reference.submodule_search_locations or []
    return any(Path(folder, "demo", "weights").is_dir() for folder in folders)


def check_can_build(path: Path, models: str = "demo") -> None:
    """Check that what builds a bundle is installed.

    Raises:
        BundleError: it is not; the line says what to install.
    """
    extras = []
    if any(importlib.util.find_spec(name) is None for name in ("mulo_sd.export", "torch", "onnx", "onnxscript")):
        extras.append("export")
    if models == "demo" and not _demo_is_installed():
        extras.append("demo")
    if extras:
        raise BundleError(
            f"{path}: there is no bundle and nothing to build it with; install what builds it with "
            f'`pip install "mulo-sd[{",".join(extras)}]"`, or give a bundle with --bundle'
        )


def ready_demo_bundle(backend: str, say: Callable[[str], object]) -> Path:
    """Return the demo bundle's folder (fp32), and build it first where it does not exist.

    Args:
        backend: The backend that will open it; TensorRT's need plans.
        say: Called with a line before a build begins.

    Raises:
        BundleError: what builds it is not installed, or the build failed.
    """
    path = demo_bundle_path()
    if not path.exists():
        check_can_build(path)
        say(f"There is no bundle at {path}: building the demo bundle (fp32) first, once.")
        build_demo_bundle(path, plans=backend.startswith("trt"))
    return path


def build_demo_bundle(path: Path, precision: str = "fp32", plans: bool = False, models: str = "demo") -> None:
    """Build a bundle with the build command, which needs torch; this process does not load it.

    Where another process builds the same one and is done first, its bundle serves as well.

    Raises:
        BundleError: what builds it is not installed, or the build failed.
    """
    check_can_build(path, models)
    command = [
        sys.executable,
        "-m",
        "mulo_sd.export.build",
        "--models",
        models,
        "--precision",
        precision,
        "--out",
        str(path),
    ]
    command += [] if plans else ["--backend", "ort"]
    done = subprocess.run(command, check=False, stdout=sys.stderr, env=environment())
    if done.returncode != 0 and not path.exists():
        raise BundleError(f"{path}: the build failed; its message stands above")
