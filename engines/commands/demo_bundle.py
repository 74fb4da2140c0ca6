"""Bundles that go by a name: their folders, and how they are built, by the build command in another process."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from mulo_sd.engines.bundle import BundleError
from mulo_sd.engines.bundle.contract import SHIPPED_MODELS
from mulo_sd.engines.files.paths import expanded
from mulo_sd.processes import environment

ENVIRONMENT_VARIABLE = "MULO_SD_BUNDLES"
# Of an option that takes a bundle.
BUNDLE_HELP = f"folder of a bundle, or {' or '.join(SHIPPED_MODELS)}, which is built first if there is none"


def bundle_path(models: str, precision: str) -> Path:
    """Return a bundle's folder: below $MULO_SD_BUNDLES, or below `bundles` in the working folder."""
    return expanded(os.environ.get(ENVIRONMENT_VARIABLE) or "bundles") / f"{models}-{precision}"


def demo_bundle_path(precision: str = "fp32") -> Path:
    """Return the demo bundle's folder."""
    return bundle_path("demo", precision)


def shipped_name(bundle: Path | None) -> str | None:
    """Return the name of the shipped models whose bundle is meant; None where it is a folder.

    Args:
        bundle: As a command's --bundle names it, in which a folder comes before a name; None is the demo's.
    """
    if bundle is None:
        return "demo"
    return str(bundle) if str(bundle) in SHIPPED_MODELS and not bundle.is_dir() else None


def bundle_folder(bundle: Path | None) -> Path:
    """Return the folder that a command's --bundle means, whether or not it is there; a name is of a bundle in fp32."""
    name = shipped_name(bundle)
    return bundle if bundle is not None and name is None else bundle_path(name or "demo", "fp32")


def ready_bundle(bundle: Path | None, backend: str, say: Callable[[str], object]) -> Path:
    """Return the folder that a command's --bundle means; a bundle that goes by a name is built where there is none.

    Args:
        bundle: A folder, or the name of shipped models; None is the demo.
        backend: The backend that will open it; TensorRT's need plans.
        say: Called with a line before a build begins.

    Raises:
        BundleError: what builds it is not installed, or the build failed.
    """
    name, path = shipped_name(bundle), bundle_folder(bundle)
    if name and not path.exists():
        check_can_build(path, name)
        say(f"There is no bundle at {path}: building the {name} bundle (fp32) first, once.")
        build_demo_bundle(path, plans=backend.startswith("trt"), models=name)
    return path


def _weights_are_there(models: str) -> bool:
    """Whether shipped weights lie where the reference looks for them; importing that would load torch."""
    reference = importlib.util.find_spec("mulo_sd.reference")
    folders = [] if reference is None else reference.submodule_search_locations or []
    return any(Path(folder, models, "weights").is_dir() for folder in folders)


def check_can_build(path: Path, models: str = "demo") -> None:
    """Check that what builds a bundle is there.

    Raises:
        BundleError: it is not; the line says what to install.
    """
    extras = []
    if any(importlib.util.find_spec(name) is None for name in ("mulo_sd.export", "torch", "onnx", "onnxscript")):
        extras.append("export")
    if models in SHIPPED_MODELS and not _weights_are_there(models):
        extras.append("demo")
    if extras:
        raise BundleError(
            f"{path}: there is no bundle and nothing to build it with; install what builds it with "
            f'`pip install "mulo-sd[{",".join(extras)}]"`, or give a bundle with --bundle'
        )


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
