"""A folder in which something is made, beside the place that it is moved to, and which is gone in the end."""

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def folder_beside(parent: Path, prefix: str, remove: Callable[[Path], object] = _remove) -> Iterator[Path]:
    """Make a folder for the owner alone; in the end it is removed, however the end comes.

    `tempfile` learns a folder's name only when it is made, and leaves it there where a signal's handler raises in just
    that moment. Here the name is known before.

    Args:
        parent: An existing folder.
        prefix: Of the folder's name; eight random characters follow, as in `tempfile`'s names.
        remove: Called with the folder, where it exists; default: it and all that is in it goes.

    Raises:
        OSError: the folder cannot be made.
    """
    folder = _free(parent, prefix)
    try:
        folder.mkdir(mode=0o700)
        yield folder
    finally:
        if os.path.lexists(folder):
            remove(folder)


def _free(parent: Path, prefix: str) -> Path:
    """Return a path at which nothing lies."""
    while True:
        folder = parent / f"{prefix}{secrets.token_hex(4)}"
        if not os.path.lexists(folder):
            return folder
