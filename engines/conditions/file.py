"""Conditions on disk, so that a host that draws needs no text model."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.condition import Condition, ConditionError
from mulo_sd.engines.files.npz import NpzError, read_npz
from mulo_sd.engines.files.paths import expanded
from mulo_sd.engines.files.whole_files import write_whole

MAX_BYTES = 64 * 2**20  # of its arrays
NAMES = {"condition", "uncond", "shown", "ids"}


def save_condition(condition: Condition, path: Path | str) -> None:
    """Write a condition as npz."""
    parts = {"condition": condition.cond, "uncond": condition.uncond, "shown": condition.shown}
    there: dict[str, Any] = {name: value for name, value in parts.items() if value is not None}

    def write(beside: Path) -> None:
        with beside.open("wb") as file:
            np.savez(file, **there)

    write_whole(Path(path), write)


def load_condition(path: Path | str) -> Condition | NDArray[np.int64]:
    """Read a condition, or the semantic ids that one is made from.

    The file holds `condition` ([P, fields or width]) with `uncond` and `shown` where there are any, or `ids` ([P]).

    Raises:
        ConditionError: no such file, not npz, or other arrays.
    """
    try:
        arrays = read_npz(expanded(path), MAX_BYTES)
    except NpzError as error:
        raise ConditionError(str(error)) from None
    if set(arrays) == {"ids"}:
        return np.asarray(arrays["ids"])
    if "condition" not in arrays or not set(arrays) <= NAMES - {"ids"}:
        shown = ", ".join(sorted(map(str, arrays))[:4]) or "nothing"
        raise ConditionError(f"{path}: expected the array condition, or ids alone, got {shown[:120]}")
    if arrays["condition"].ndim != 2:
        raise ConditionError(f"{path}: condition: expected two dimensions, got {arrays['condition'].ndim}")
    try:
        return Condition(arrays["condition"], arrays.get("uncond"), arrays.get("shown"))
    except ValueError as error:
        raise ConditionError(f"{path}: {error}") from None
