"""The user's folder for what this machine has worked out once: compiled kernels, measured passes."""

import os
from collections.abc import Mapping
from pathlib import Path

from mulo_sd.engines.files.paths import expanded

VARIABLE = "MULO_SD_CACHE"


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the user's cache folder; None where MULO_SD_CACHE is empty, or there is no home folder."""
    chosen = environment.get(VARIABLE)
    if chosen is not None:
        return expanded(chosen) if chosen else None
    base = environment.get("XDG_CACHE_HOME", "")
    if Path(base).is_absolute():
        return Path(base) / "mulo-sd"
    try:
        return Path.home() / ".cache" / "mulo-sd"
    except RuntimeError:
        return None
