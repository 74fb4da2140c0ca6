"""Commands that write files of fixed names into a folder replace those of their own earlier runs, and nobody else's."""

import os
from collections.abc import Iterable
from pathlib import Path


def first_there(folder: Path, names: Iterable[str]) -> Path | None:
    """Return the first file of some names that a folder holds, links that lead nowhere among them; None without any."""
    return next((folder / name for name in names if os.path.lexists(folder / name)), None)
