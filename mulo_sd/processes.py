"""Python processes that we start find this package, and run nothing from the folder they work in."""

import os
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
