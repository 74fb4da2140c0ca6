"""Vectors as a folder: manifest.json, and for each case an npz file of inputs and one of answers."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd.conformance.vectors.case import Arrays, Output, Stage
from mulo_sd.engines.bundle.entries import stays_inside
from mulo_sd.engines.files.folder_beside import folder_beside
from mulo_sd.engines.files.npz import NpzError, read_npz

FORMAT_VERSION = 3
MANIFEST_NAME = "manifest.json"
MAX_MANIFEST_BYTES, MAX_ARRAY_BYTES = 2**24, 2**28


class VectorsError(ValueError):
    """A folder that cannot be used; its message is one line for the user."""


def _write_arrays(path: Path, arrays: Arrays) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **dict(arrays))  # type: ignore[arg-type]  # no array is named like an option of savez
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_vectors(folder: Path, stages: Sequence[Stage], origin: dict[str, Any], seed: int) -> int:
    """Write a folder beside its place and move it there; return how many cases it holds.

    Args:
        folder: Must not be there yet.
        stages: What to write.
        origin: What else the manifest says: the bundle's hashes, versions.
        seed: Of the inputs.

    Raises:
        VectorsError: something is there already.
    """
    folder = Path(os.path.realpath(folder))  # where a link leads that leads nowhere yet
    if folder.exists():
        raise VectorsError(f"{folder}: expected a new folder, found something there; take another name")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder_beside(folder.parent, f".{folder.name}-") as temporary:
        beside = temporary / folder.name  # with the mode that every folder has here
        beside.mkdir()
        entries = []
        for stage in stages:
            for index, vector in enumerate(stage.vectors(np.random.default_rng([seed, len(stage.name)]))):
                name = f"{stage.name}/{index:03d}"
                entries.append(
                    {
                        "stage": stage.name,
                        "case": name,
                        "note": vector.note,
                        "inputs": f"inputs/{name}.npz",
                        "inputs_sha256": _write_arrays(beside / "inputs" / f"{name}.npz", vector.inputs),
                        "answers": f"answers/{name}.npz",
                        "answers_sha256": _write_arrays(beside / "answers" / f"{name}.npz", vector.answers),
                    }
                )
        described = {
            stage.name: {
                "rules": list(stage.rules),
                "needs_models": stage.needs_models,
                "inputs": {name: item._asdict() for name, item in stage.inputs.items()},
                "outputs": {name: item._asdict() for name, item in stage.outputs.items()},
            }
            for stage in stages
        }
        manifest = {"format_version": FORMAT_VERSION, **origin, "stages": described, "cases": entries}
        (beside / MANIFEST_NAME).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        beside.rename(folder)
    return len(entries)


@dataclass(frozen=True)
class Case:
    """A case of a folder: its stage, name and files."""

    stage: str
    name: str
    inputs: Path
    answers: Path
    answers_sha256: str
    outputs: dict[str, Output]


def read_cases(folder: Path) -> list[Case]:
    """Return the cases of a folder.

    Raises:
        VectorsError: it holds no manifest of this version, or one that is not whole.
    """
    path = folder / MANIFEST_NAME
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise VectorsError(f"{path}: expected at most {MAX_MANIFEST_BYTES} bytes, got {path.stat().st_size}")
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format_version"] != FORMAT_VERSION:
            raise VectorsError(
                f"{path}: expected format version {FORMAT_VERSION}, got {content['format_version']!r:.40}"
            )
        outputs = {
            stage: {name: Output(**item) for name, item in described["outputs"].items()}
            for stage, described in content["stages"].items()
        }
        return [
            Case(
                entry["stage"],
                entry["case"],
                _inside(folder, entry["inputs"]),
                _inside(folder, entry["answers"]),
                entry["answers_sha256"],
                outputs[entry["stage"]],
            )
            for entry in content["cases"]
        ]
    except VectorsError:
        raise
    except OSError as error:
        raise VectorsError(f"{path}: cannot read it: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise VectorsError(
            f"{path}: expected a manifest of vectors, got: {type(error).__name__}: {error!s:.80}"
        ) from None


def _inside(folder: Path, name: object) -> Path:
    if not stays_inside(str(name)):
        raise VectorsError(f"{folder}: expected paths inside the folder, got {name!r:.80}")
    return folder / str(name)


def read_arrays(path: Path, sha256: str | None = None) -> dict[str, NDArray[Any]]:
    """Read an npz file, of bounded size and without pickles.

    Raises:
        VectorsError: it is not there, too large, changed, or no npz file of plain arrays.
    """
    try:
        if sha256 is not None and path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            raise VectorsError(f"{path}: it is not the file of the manifest; write the vectors again")
        return read_npz(path, MAX_ARRAY_BYTES)
    except (NpzError, OSError) as error:
        raise VectorsError(" ".join(str(error).splitlines())) from None


def compare(case: Case, answers: Arrays, expected: Arrays) -> Iterator[str]:
    """Tell what is wrong with the answers of a case; nothing where they are right."""
    for name, output in case.outputs.items():
        if name not in answers:
            yield f"{name}: expected an array, got none"
            continue
        mine, right = np.asarray(answers[name]), expected[name]
        if mine.shape != right.shape:
            yield f"{name}: expected the shape {list(right.shape)}, got {list(mine.shape)}"
            continue
        if mine.dtype.kind not in "biuf":
            yield f"{name}: expected numbers, got {mine.dtype}"
            continue
        wrong = _wrong(output, mine, right)
        if output.margin is not None:
            wrong &= expected[output.margin] >= output.min_margin
        if wrong.any():
            first_wrong = tuple(int(index) for index in np.argwhere(wrong)[0])
            yield (
                f"{name}: {int(wrong.sum())} of {wrong.size} are wrong, the first at {list(first_wrong)}: "
                f"expected {right[first_wrong]}, got {mine[first_wrong]}"
            )


def _wrong(output: Output, mine: NDArray[Any], right: NDArray[Any]) -> NDArray[np.bool_]:
    if output.tolerance is None:
        return np.asarray(mine != right)
    finite = np.isfinite(right)
    with np.errstate(invalid="ignore"):
        off = np.abs(mine.astype(np.float64) - right.astype(np.float64))
    return np.asarray(np.where(finite, ~(off <= output.tolerance), mine != right))
