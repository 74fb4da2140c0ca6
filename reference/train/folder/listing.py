"""The files of a folder and its sub-folders, one after the other; nothing is opened."""

import os
import stat
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Literal, NamedTuple

from mulo_sd.reference.train.folder.names import is_inside
from mulo_sd.reference.train.folder.problems import LINK_OUT, LINK_TO_FOLDER, NOT_PLAIN, UNREADABLE, Problem

SUFFIXES = (".png", ".apng", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif")
METADATA = ("metadata.jsonl", "metadata.csv")  # Hugging Face's imagefolder

Kind = Literal["picture", "text", "metadata", "other"]


class Entry(NamedTuple):
    """A file: its name relative to the folder, what it is by its name, its size, and when it was changed."""

    name: str
    kind: Kind
    bytes: int
    mtime_ns: int


def kind_of(name: str) -> Kind:
    """Return what a file is by its name alone."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in SUFFIXES:
        return "picture"
    if suffix == ".txt":
        return "text"
    return "metadata" if name in METADATA else "other"


def walk(root: str, left_out: str) -> Iterator[Entry | Problem]:
    """Yield the files of a folder and of its sub-folders, in no order; hidden ones are passed over.

    Args:
        root: A real path.
        left_out: A folder that is passed over: what a run writes is no picture of the user's. A real path.
    """
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(f"{root}/{folder}") as items:
                for item in items:
                    if item.name.startswith("."):
                        continue
                    name = f"{folder}/{item.name}" if folder else item.name
                    if not item.is_dir(follow_symlinks=False):
                        yield _entry(root, name, item)
                    elif f"{root}/{name}" != left_out:
                        folders.append(name)
        except OSError as error:
            yield Problem(UNREADABLE, folder or ".", f"expected a folder that may be read, got: {error.strerror}")


def _entry(root: str, name: str, item: os.DirEntry[str]) -> Entry | Problem:
    """Return a file, or why it is left out."""
    kind = kind_of(item.name)
    try:
        if item.is_symlink():
            if item.is_dir():
                return Problem(LINK_TO_FOLDER, name, "expected a folder itself; links to folders are not followed")
            if kind == "other":
                return Entry(name, kind, 0, 0)
            if not is_inside(root, os.path.realpath(item.path)):
                return Problem(LINK_OUT, name, "expected a file of the folder, got a link out of it; copy the file")
        status = item.stat()
    except OSError as error:  # a link to nothing or to itself, a file that has gone
        return Problem(UNREADABLE, name, f"expected a file that may be read, got: {error.strerror}")
    if kind != "other" and not stat.S_ISREG(status.st_mode):
        return Problem(NOT_PLAIN, name, "expected a plain file, got a pipe, a socket or a device")
    return Entry(name, kind, status.st_size, status.st_mtime_ns)
