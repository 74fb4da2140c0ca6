"""The folder that a run fills: begun once, with whatever it was begun; what is in it that counts, and what does not."""

import contextlib
import importlib.util
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mulo_sd.engines.commands.layouts import LayoutError
from mulo_sd.engines.files.whole_files import PARTIAL, make_folder

_HAS_LOCKS = importlib.util.find_spec("fcntl") is not None  # not on Windows; leftovers then stay

RUN_NAME = "run.json"
FORMAT = 2
# Hidden files, and what Windows writes into folders that somebody looks at.
FOREIGN = re.compile(r"\..*|thumbs\.db|desktop\.ini", re.IGNORECASE)


def begin(folder: Path, told: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Make a folder for a run, or hold one that is there against the run; several processes may do so at once.

    Args:
        folder: Empty, not there yet, or begun before.
        told: What the run is drawn with: the folder is of this alone.
        old: What an earlier version would have written of the run, which recorded nothing in its images.

    Returns:
        Whether the folder was begun by an earlier version, so that images without a record are the run's own.

    Raises:
        LayoutError: it was begun with something else, holds something else, or cannot be written.
    """
    beside = folder / RUN_NAME
    try:
        make_folder(folder)
        with in_use(folder):
            if not beside.is_file() and _strangers(folder) and not beside.is_file():  # another process may just begin
                raise LayoutError(f"{folder}: expected an empty folder or one begun before, got something else")
            if not beside.is_file():
                _create(beside, json.dumps({"format": FORMAT, **told}, indent=1) + "\n")
            known = _read(beside)
    except OSError as error:
        raise LayoutError(f"{folder}: cannot write into it: {error.strerror or error}") from None
    is_old = "format" not in known
    expected = old if is_old else {"format": FORMAT, **told}
    other = [name for name, value in expected.items() if known.get(name) != value]
    if other:
        by = " by an earlier version" if is_old else ""
        raise LayoutError(f"{folder}: it was begun{by} with another {other[0]}; give another folder")
    return is_old


def _create(path: Path, text: str) -> None:
    """Write a file whole where there is none; one that another process has just written stays."""
    with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=path.parent) as temporary:
        made = Path(temporary) / path.name
        made.write_text(text, encoding="utf-8")
        try:
            path.hardlink_to(made)
        except FileExistsError:
            return
        except OSError:  # the file system knows no hard links
            made.replace(path)


def _strangers(folder: Path) -> bool:
    return any(FOREIGN.fullmatch(path.name) is None for path in folder.iterdir())


def _read(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        known = None
    if not isinstance(known, dict):
        raise LayoutError(f"{path}: expected what a run was begun with, got something else; give another folder")
    return known


@contextlib.contextmanager
def in_use(folder: Path) -> Iterator[bool]:
    """Mark a folder as in use, as several processes may at once; yield whether this one is alone with it.

    The system lets go of the mark when a process ends, however it ends.
    """
    if not _HAS_LOCKS:
        yield False
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        alone = True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # another process has it, or the file system knows no locks
            alone = False
        if alone:
            clean(folder)
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield alone
    finally:
        os.close(descriptor)


def clean(folder: Path) -> None:
    """Remove what processes that were killed left of files that they were writing.

    Nobody else may be using the folder. Only folders that are called as ours are, and hold at most one file, are taken.
    """
    for left in folder.rglob(f"{PARTIAL}*"):
        with contextlib.suppress(OSError):
            if re.fullmatch(re.escape(PARTIAL) + r"[a-z0-9_]{8}", left.name) is None or left.is_symlink():
                continue
            held = list(left.iterdir())
            if len(held) <= 1 and all(path.is_file() and not path.is_symlink() for path in held):
                shutil.rmtree(left)
