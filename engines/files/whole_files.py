"""Files that are there whole or not at all; a symbolic link stays one, and what it names is written."""

import errno
import os
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mulo_sd.engines.files.paths import expanded

PARTIAL = ".partial-"  # what the folder that a file is written in is called, beside the file's place
# A file that is mounted, as containers do it, cannot be moved to; what is written is then copied into it.
CANNOT_MOVE_THERE = {errno.EXDEV, errno.EBUSY}


def written_file(path: Path) -> Path:
    """Return the file that writing to a path would write: through links, whether it is there or not.

    Raises:
        OSError: links that lead in a circle, a folder, or no plain file.
    """
    real = Path(os.path.realpath(expanded(path)))
    try:
        there = real.lstat()
    except FileNotFoundError:
        return real
    if stat.S_ISLNK(there.st_mode):
        raise OSError(errno.ELOOP, "its links lead in a circle; remove one of them", str(path))
    if stat.S_ISDIR(there.st_mode):
        raise OSError(errno.EISDIR, "expected a file, got a folder", str(path))
    if not stat.S_ISREG(there.st_mode):
        raise OSError(errno.EINVAL, "expected a plain file, got a device or a pipe; write a file", str(path))
    if any(os.path.samestat(there, own) for own in _own_streams()):
        raise OSError(errno.EINVAL, "expected another file than this command's own output", str(path))
    return real


def _own_streams() -> list[os.stat_result]:
    found = []
    for stream in (sys.__stdout__, sys.__stderr__):
        try:
            found.append(os.fstat(stream.fileno()) if stream is not None else None)
        except (OSError, ValueError):  # closed, or no file of the system
            continue
    return [own for own in found if own is not None]


def make_folder(path: Path) -> None:
    """Make a folder and those above it, where they are not there; a link that leads nowhere yet is followed.

    Raises:
        OSError: it cannot be made, or a file is there.
    """
    real = Path(os.path.realpath(expanded(path)))
    if real.exists() and not real.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "expected a folder, got a file", str(path))
    if real.is_symlink():
        raise OSError(errno.ELOOP, "its links lead in a circle; remove one of them", str(path))
    real.mkdir(parents=True, exist_ok=True)


def check_writable(path: Path) -> None:
    """Find out before long work whether a file can be written; nothing is left behind.

    Raises:
        OSError: it cannot, and why.
    """
    real = written_file(path)
    if not real.parent.is_dir():
        raise OSError(
            errno.ENOENT, "expected a file in a folder that exists; make the folder or give another path", str(path)
        )
    _check_access(real, path)
    with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=real.parent):
        pass


def _check_access(real: Path, path: Path) -> None:
    if real.exists() and not os.access(real, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise PermissionError(errno.EACCES, "it is there and must not be written; give another path", str(path))


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file beside its place and move it there.

    What a symbolic link names is written, and the link stays. A file that was there keeps its mode; a new one has the
    usual one.

    Args:
        path: Its place; its folder exists.
        write: Writes the file whose path it is given.

    Raises:
        OSError: it cannot be written.
    """
    real = written_file(path)
    mode = stat.S_IMODE(real.stat().st_mode) if real.exists() else None
    _check_access(real, path)
    with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=real.parent) as folder:
        beside = Path(folder) / real.name
        write(beside)
        if mode is not None:
            beside.chmod(mode)
        try:
            beside.replace(real)
        except OSError as error:
            if error.errno not in CANNOT_MOVE_THERE:
                raise
            real.write_bytes(beside.read_bytes())


def write_bytes_whole(path: Path, content: bytes) -> None:
    """Write bytes beside a file's place and move them there.

    Raises:
        OSError: it cannot be written.
    """
    write_whole(path, lambda beside: beside.write_bytes(content))


def write_text_whole(path: Path, text: str) -> None:
    """Write text in UTF-8, its line ends as they are, beside a file's place and move it there.

    Raises:
        OSError: it cannot be written.
    """
    write_bytes_whole(path, text.encode())
