"""Conditions on disk, so that a host that draws needs no text model."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.condition import Condition, ConditionError

MAX_BYTES = 64 * 2**20
NAMES = {"condition", "uncond", "shown", "ids"}


def save_condition(condition: Condition, path: Path) -> None:
    """Write a condition as npz."""
    parts = {"condition": condition.cond, "uncond": condition.uncond, "shown": condition.shown}
    there: dict[str, Any] = {name: value for name, value in parts.items() if value is not None}
    with path.open("wb") as file:
        np.savez(file, **there)


def _read(path: Path) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        raise ConditionError(f"{path}: expected an .npz file, found none; give the path of one")
    if path.stat().st_size > MAX_BYTES:
        raise ConditionError(f"{path}: expected at most {MAX_BYTES} bytes, got {path.stat().st_size}")
    try:
        with np.load(path, allow_pickle=False) as file:
            if sum(item.file_size for item in file.zip.infolist()) > MAX_BYTES:
                raise ConditionError(f"{path}: expected at most {MAX_BYTES} bytes of arrays, got more")
            return {name: file[name] for name in file.files}
    except ConditionError:
        raise
    except Exception as error:  # numpy and zipfile raise half a dozen classes for a file that is no archive
        raise ConditionError(f"{path}: expected arrays (npz), got: {type(error).__name__}") from None


def load_condition(path: Path) -> Condition | NDArray[np.int64]:
    """Read a condition, or the semantic ids that one is made from.

    The file holds `condition` ([P, fields or width]) with `uncond` and `shown` where there are any, or `ids` ([P]).

    Raises:
        ConditionError: no such file, not npz, or other arrays.
    """
    arrays = _read(path)
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
