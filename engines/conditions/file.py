"""Conditions in files, so that a machine that draws needs no text model."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.condition import Condition, ConditionError
from mulo_sd.engines.files.npz import NpzError, read_npz
from mulo_sd.engines.files.paths import expanded
from mulo_sd.engines.files.whole_files import write_whole

MAX_BYTES = 64 * 2**20  # of the arrays
NAMES = {"condition", "uncond", "shown", "ids"}


def save_condition(condition: Condition, path: Path | str) -> None:
    """Write a condition as an npz file.

    Raises:
        OSError: the file cannot be written.
    """
    parts = {"condition": condition.cond, "uncond": condition.uncond, "shown": condition.shown}
    arrays: dict[str, Any] = {name: value for name, value in parts.items() if value is not None}

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)

    write_whole(Path(path), write)


def load_condition(path: Path | str) -> Condition | NDArray[np.int64]:
    """Read a condition, or the semantic ids that a condition is made from.

    The file holds `condition` ([P, fields or width]), and may hold `uncond` and `shown`; or it holds `ids` ([P]).

    Raises:
        ConditionError: the file does not exist, is not an npz file, or holds other arrays.
    """
    try:
        arrays = read_npz(expanded(path), MAX_BYTES)
    except NpzError as error:
        raise ConditionError(str(error)) from None
    if set(arrays) == {"ids"}:
        return np.asarray(arrays["ids"])
    if "condition" not in arrays or not set(arrays) <= NAMES - {"ids"}:
        names = ", ".join(sorted(map(str, arrays))[:4]) or "nothing"
        raise ConditionError(f"{path}: expected the array condition, or ids alone, got {names[:120]}")
    if arrays["condition"].ndim != 2:
        raise ConditionError(f"{path}: condition: expected two dimensions, got {arrays['condition'].ndim}")
    try:
        return Condition(arrays["condition"], arrays.get("uncond"), arrays.get("shown"))
    except ValueError as error:
        raise ConditionError(f"{path}: {error}") from None
