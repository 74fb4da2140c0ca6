"""Write a file as a whole or not at all; a symbolic link stays one, and its target is written."""

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mulo_sd.engines.files.folder_beside import folder_beside
from mulo_sd.engines.files.paths import expanded

PARTIAL = ".partial-"  # begins the name of the temporary folder in which a file is first written
# A file that is mounted into a container cannot be replaced; its new content is then copied into it.
CANNOT_MOVE_THERE = {errno.EXDEV, errno.EBUSY}


def written_file(path: Path) -> Path:
    """Follow a path's links to the file that is written, whether or not it exists.

    Raises:
        OSError: the links lead in a circle, or to a folder or another thing that is not a plain file.
    """
    real = Path(os.path.realpath(expanded(path)))
    try:
        status = real.lstat()
    except FileNotFoundError:
        return real
    if stat.S_ISLNK(status.st_mode):
        raise OSError(errno.ELOOP, "its links lead in a circle; remove one of them", str(path))
    if stat.S_ISDIR(status.st_mode):
        raise OSError(errno.EISDIR, "expected a file, got a folder", str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "expected a plain file, got a device or a pipe; write a file", str(path))
    if any(os.path.samestat(status, stream) for stream in _standard_streams()):
        raise OSError(errno.EINVAL, "expected another file than this command's own output", str(path))
    return real


def _standard_streams() -> list[os.stat_result]:
    statuses = []
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):  # closed, or no file of the system
                statuses.append(os.fstat(stream.fileno()))
    return statuses


def make_folder(path: Path) -> None:
    """Make a folder and its parents where they do not exist; a link to a folder that does not exist yet is followed.

    Raises:
        OSError: the folder cannot be made, or the path is a file.
    """
    real = Path(os.path.realpath(expanded(path)))
    if real.exists() and not real.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "expected a folder, got a file", str(path))
    if real.is_symlink():
        raise OSError(errno.ELOOP, "its links lead in a circle; remove one of them", str(path))
    real.mkdir(parents=True, exist_ok=True)


def check_writable(path: Path) -> None:
    """Check before long work that a file can be written; nothing is left behind.

    Raises:
        OSError: the file cannot be written.
    """
    real = written_file(path)
    if not real.parent.is_dir():
        raise OSError(
            errno.ENOENT, "expected a file in a folder that exists; make the folder or give another path", str(path)
        )
    _check_access(real, path)
    with folder_beside(real.parent, PARTIAL):
        pass


def _check_access(real: Path, path: Path) -> None:
    if real.exists() and not os.access(real, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise PermissionError(
            errno.EACCES, "expected a file that may be written, got a protected one; give another path", str(path)
        )


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a temporary file in the same folder, then move it to its path.

    The target of a symbolic link is written, and the link stays. A file that existed keeps its mode; a new one has the
    usual one.

    Args:
        path: Where to; the folder exists.
        write: Called with the path of the temporary file, which it writes.

    Raises:
        OSError: the file cannot be written.
    """
    real = written_file(path)
    mode = stat.S_IMODE(real.stat().st_mode) if real.exists() else None
    _check_access(real, path)
    with folder_beside(real.parent, PARTIAL) as folder:
        temporary = folder / real.name
        write(temporary)
        if mode is not None:
            temporary.chmod(mode)
        try:
            temporary.replace(real)
        except OSError as error:
            if error.errno not in CANNOT_MOVE_THERE:
                raise
            real.write_bytes(temporary.read_bytes())


def write_bytes_whole(path: Path, content: bytes) -> None:
    """Write a file of bytes as a whole (`write_whole`).

    Raises:
        OSError: the file cannot be written.
    """
    write_whole(path, lambda temporary: temporary.write_bytes(content))


def write_text_whole(path: Path, text: str) -> None:
    """Write a file of text as a whole (`write_whole`), in UTF-8 and with its line ends as they are.

    Raises:
        OSError: the file cannot be written.
    """
    write_bytes_whole(path, text.encode())
