"""Which folders a build may replace: those that are empty, and bundles that hold nothing of anybody else."""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mulo_sd.engines.bundle.contract import CAPTIONS_FILE, GRAMMAR_FILE
from mulo_sd.engines.bundle.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES
from mulo_sd.engines.files.paths import expanded

# What a build writes, by path inside a bundle; `.manifest-` is what a killed calibration leaves.
WRITTEN = re.compile(
    rf"{re.escape(MANIFEST_NAME)}|\.manifest-\w+|{re.escape(GRAMMAR_FILE)}|{re.escape(CAPTIONS_FILE)}|[\w.-]+\.npy"
    r"|onnx/[^/]+\.(onnx|weights)|plans/[\w-]+/[^/]+\.plan|weights/[^/]+\.safetensors"
)
FOLDERS = re.compile(r"onnx|plans|plans/[\w-]+|weights")
# Fields that manifests of all schema versions have.
MANIFEST_FIELDS = {"schema_version": int, "name": str, "precision": str, "created": str, "graphs": dict}


class BuildError(RuntimeError):
    """A bundle that cannot be built; its message is one line for the user."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))  # names of files may hold line ends


def _paths(content: Any) -> Iterator[str]:
    """Yield the paths of all files that a manifest describes, whatever its schema version."""
    if isinstance(content, dict):
        if isinstance(content.get("path"), str) and {"sha256", "size_bytes"} <= content.keys():
            yield content["path"]
        content = list(content.values())
    if isinstance(content, list):
        for item in content:
            yield from _paths(item)


def _files_of_manifest(file: Path) -> frozenset[str] | None:
    """Return the files that a bundle's manifest names; None where it is no manifest of a bundle."""
    try:
        if file.is_symlink() or not file.is_file() or file.stat().st_size > MAX_MANIFEST_BYTES:
            return None
        content = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            return None
        if any(not isinstance(content.get(name), kind) for name, kind in MANIFEST_FIELDS.items()):
            return None
        return frozenset({MANIFEST_NAME, *_paths(content)})
    except (OSError, ValueError, RecursionError):
        return None


def entries(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield everything below a folder with its path inside, what a folder holds before itself; no link is followed."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False):
            yield from ((f"{entry.name}/{path}", inner) for path, inner in entries(folder / entry.name))
        yield entry.name, entry


def known_files(folder: Path) -> Callable[[str], bool]:
    """Return a predicate of a file's path inside a bundle's folder: whether the file is the bundle's.

    Raises:
        BuildError: the folder holds no bundle, or something beside it.
    """
    listed = _files_of_manifest(folder / MANIFEST_NAME)
    if listed is None:
        if not any(folder.iterdir()):
            return lambda path: False
        raise BuildError(
            f"{folder}: expected an empty folder or a bundle, got a folder whose {MANIFEST_NAME} is missing or "
            "another's; nothing was touched: give another --out"
        )

    def is_known(path: str) -> bool:
        return WRITTEN.fullmatch(path) is not None and (path in listed or path.startswith(".manifest-"))

    for path, entry in entries(folder):
        if entry.is_dir(follow_symlinks=False):
            known = FOLDERS.fullmatch(path) is not None
        else:
            known = entry.is_file(follow_symlinks=False) and is_known(path)
        if not known:
            raise BuildError(
                f"{folder}: expected nothing but a bundle, found {path} in it; nothing was touched: move that away, "
                "or give another --out"
            )
    return is_known


def remove_known(folder: Path, is_known: Callable[[str], bool]) -> bool:
    """Remove the files that are known, and folders that are empty then; return whether nothing remains.

    Args:
        folder: No link.
        is_known: Of a file's path inside the folder.
    """
    for path, entry in list(entries(folder)):
        if entry.is_dir(follow_symlinks=False):
            remove_empty(Path(entry.path))
        elif entry.is_file(follow_symlinks=False) and is_known(path):
            Path(entry.path).unlink()
    return remove_empty(folder)


def remove_empty(folder: Path) -> bool:
    """Remove a folder in which nothing lies; return whether it could be removed."""
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


def check_folder(place: Path) -> None:
    """Check that what lies in a place is a folder that may be put elsewhere, whatever it holds.

    Args:
        place: Without links.

    Raises:
        BuildError: it may not.
    """
    if not place.is_dir():
        raise BuildError(f"{place}: expected a folder or nothing, got a file; give another --out")
    for name, used in (("the working folder", Path()), ("the home folder", expanded("~"))):
        if Path(os.path.realpath(used)).is_relative_to(place):
            raise BuildError(f"{place}: expected a folder of its own, got one with {name}; give another --out")
    if place.is_mount():
        raise BuildError(f"{place}: expected a folder that can be renamed, got a mount point; give a folder in it")


def check_place(place: Path, force: bool) -> None:
    """Check that a bundle may be put in a place.

    Args:
        place: Without links.
        force: A bundle that is there may be replaced.

    Raises:
        BuildError: something is there that may not be.
    """
    if not os.path.lexists(place):
        return
    check_folder(place)
    known_files(place)
    if not force:
        there = "a bundle already; use it, or replace it" if any(place.iterdir()) else "an empty folder; replace it"
        raise BuildError(f"{place}: there is {there} with --force")
