"""Where the demo bundle lies, and how it comes to be: by the build command, as a process of its own."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import mulo_sd
from engines.bundle import BundleError
from engines.paths import expanded

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
    ours = Path(mulo_sd.ROOT, "export", "build.py").is_file()  # what `export` means elsewhere is no matter
    if not ours or importlib.util.find_spec("torch") is None:
        raise BundleError(
            f"{path}: there is no bundle and nothing to build it with; "
            "install the extra `mulo-sd[export]`, or give a bundle with --bundle"
        )
    command = [sys.executable, "-m", "export.build", "--models", models, "--precision", precision, "--out", str(path)]
    command += [] if plans else ["--backend", "ort"]
    done = subprocess.run(command, check=False, stdout=sys.stderr, env=mulo_sd.environment())
    if done.returncode != 0 and not path.exists():
        raise BundleError(f"{path}: the build failed; its message stands above")
