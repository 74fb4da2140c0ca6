"""Where the demo bundle lies, and how it comes to be: by the build command, as a process of its own."""

import importlib.util
import os
import subprocess
import sys
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


def build_demo_bundle(path: Path, precision: str = "fp32", plans: bool = False, models: str = "demo") -> None:
    """Build a bundle with `python -m export.build`, which needs torch; this process does not load it.

    Where another process builds the same one and is done first, its bundle serves as well.

    Raises:
        BundleError: `export` is not installed, or the build failed.
    """
    if any(importlib.util.find_spec(name) is None for name in ("mulo_sd.export", "torch")):
        raise BundleError(
            f"{path}: there is no bundle and nothing to build it with; "
            "install the extra `mulo-sd[export]`, or give a bundle with --bundle"
        )
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
