"""Python processes that we start find this package, and take nothing from the folder they work in for a package."""

import importlib.util
import os
import sys
from pathlib import Path

# Not resolved: of an installed package it is the folder that Python found it in.
ROOT = str(Path(__file__).absolute().parent.parent)


def environment(*folders: Path | str) -> dict[str, str]:
    """Return the environment in which `python -m mulo_sd.export.build` is this package's, whatever its folder holds.

    Args:
        folders: Where else modules are found.
    """
    others = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    path = os.pathsep.join([ROOT, *map(str, folders), *others])
    return os.environ | {"PYTHONSAFEPATH": "1", "PYTHONPATH": path}


def hide_folder_triton() -> None:
    """Let `import triton` find nothing where all that it would find is a folder of that name.

    `python -m` searches the folder in which it works, where a checkout or an environment may have that name. torch
    takes whatever `triton` there is for the compiler, and fails in the midst of a build or a training.
    """
    found = None if "triton" in sys.modules else importlib.util.find_spec("triton")
    if found is not None and found.origin is None:  # a folder without an __init__.py
        sys.modules["triton"] = None  # type: ignore[assignment]  # Python's own way to say that there is none
