"""The folder that a run fills: run.json says what the run draws with, and a lock keeps its processes apart."""

import contextlib
import importlib.util
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mulo_sd.engines.commands.image_claims import CLAIMS_NAME
from mulo_sd.engines.commands.layouts import LayoutError
from mulo_sd.engines.files.folder_beside import folder_beside
from mulo_sd.engines.files.whole_files import PARTIAL, make_folder

_HAS_LOCKS = importlib.util.find_spec("fcntl") is not None  # not on Windows; leftovers then stay
_SECONDS_BETWEEN_LOOKS = 0.05

RUN_NAME = "run.json"
FORMAT = 2
# Hidden files, and what Windows writes into folders that somebody looks at.
FOREIGN = re.compile(r"\..*|thumbs\.db|desktop\.ini", re.IGNORECASE)


def begin(folder: Path, description: Mapping[str, Any], old_description: Mapping[str, Any]) -> bool:
    """Make a folder for a run, or check that an existing one belongs to it; several processes may do so at once.

    Args:
        folder: Empty, not made yet, or begun before.
        description: What the run draws with; a folder holds images of one description alone.
        old_description: What an earlier version, whose images hold no record, would have written.

    Returns:
        Whether the folder was begun by an earlier version, so that images without a record are the run's own.

    Raises:
        LayoutError: the folder was begun with something else, holds something else, or cannot be written.
    """
    run_file = folder / RUN_NAME
    try:
        make_folder(folder)
        # Before anything is cleaned: another command may be writing into a folder that is not a run's.
        _check_ours(folder)
        with in_use(folder):
            _check_ours(folder)
            if not run_file.is_file():
                _create(run_file, json.dumps({"format": FORMAT, **description}, indent=1) + "\n")
            recorded = _read(run_file)
    except OSError as error:
        raise LayoutError(f"{folder}: cannot write into it: {error.strerror or error}") from None
    is_old = "format" not in recorded
    expected = old_description if is_old else {"format": FORMAT, **description}
    differing = [name for name, value in expected.items() if recorded.get(name) != value]
    if differing:
        by = " by an earlier version" if is_old else ""
        setting = f"the {differing[0]} with which the folder was begun{by}"
        raise LayoutError(f"{folder}: expected {setting}, got another; give another folder")
    return is_old


def _create(path: Path, text: str) -> None:
    """Write a file as a whole where there is none; one that another process has just written stays."""
    with folder_beside(path.parent, PARTIAL) as folder:
        written = folder / path.name
        written.write_text(text, encoding="utf-8")
        try:
            path.hardlink_to(written)
        except FileExistsError:
            return
        except OSError:  # the file system knows no hard links
            written.replace(path)


def _check_ours(folder: Path) -> None:
    run_file = folder / RUN_NAME
    if not run_file.is_file() and _holds_other_files(folder) and not run_file.is_file():  # it may come meanwhile
        raise LayoutError(f"{folder}: expected an empty folder or one begun before, got something else")


def _holds_other_files(folder: Path) -> bool:
    return any(FOREIGN.fullmatch(path.name) is None for path in folder.iterdir())


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise LayoutError(f"{path}: expected the description of a run, got something else; give another folder")
    return content


@contextlib.contextmanager
def in_use(folder: Path, others_end_within: float = 0.0) -> Iterator[bool]:
    """Lock a folder, which several processes may share; yield whether this process is the only one.

    The system releases the lock when a process ends, however it ends. The last one removes the file of claims.

    Args:
        folder: Of a run.
        others_end_within: Seconds to wait at the end for others to be gone, where they are ending just then.
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
        _leave(folder, descriptor, others_end_within)
        os.close(descriptor)


def _leave(folder: Path, descriptor: int, others_end_within: float) -> None:
    """Remove the file of claims once no other process is there; leave it to those that stay longer."""
    import fcntl

    ends_at = time.monotonic() + others_end_within
    with contextlib.suppress(OSError):  # the file system knows no locks, or others are there still
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= ends_at:
                    raise
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        (folder / CLAIMS_NAME).unlink(missing_ok=True)


def clean(folder: Path) -> None:
    """Remove the temporary folders of processes that were killed while they wrote a file.

    No other process may be using the folder. Only folders with a name of ours that hold at most one file are removed.
    """
    for leftover in folder.rglob(f"{PARTIAL}*"):
        with contextlib.suppress(OSError):
            if re.fullmatch(re.escape(PARTIAL) + r"[a-z0-9_]{8}", leftover.name) is None or leftover.is_symlink():
                continue
            content = list(leftover.iterdir())
            if len(content) <= 1 and all(path.is_file() and not path.is_symlink() for path in content):
                shutil.rmtree(leftover)
