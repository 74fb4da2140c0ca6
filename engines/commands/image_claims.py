"""Claims: which process draws which image of a folder, so that several processes share its images.

A claim is a lock on one byte of a hidden file in the folder. The system releases it when its process ends, however it
ends. Machines that share a file system with such locks (NFSv4, say) share claims as well.
"""

import contextlib
import importlib.util
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

_HAS_LOCKS = importlib.util.find_spec("fcntl") is not None  # not on Windows, where processes may draw an image twice

CLAIMS_NAME = ".claims"


@dataclass
class _ClaimsFile:
    """The hidden file, opened once in a process: closing any descriptor of it gives up all of the process's locks.

    Attributes:
        descriptor: None where there is no file to lock.
        taken: The bytes that this process holds; the system does not keep its own threads apart.
        users: The `Claims` of this process that use it.
    """

    descriptor: int | None
    taken: set[int] = field(default_factory=set)
    users: int = 0


_guard = threading.Lock()  # of all that follows
_files: dict[tuple[int, int, int], _ClaimsFile] = {}  # by process, since a fork copies them, and by folder


def _byte_of(name: str) -> int:
    """Return an image's byte: a hash of its name, which stays when a file of prompts grows or another is drawn."""
    return int.from_bytes(sha256(name.encode()).digest()[:6])


def _open(folder: Path) -> int | None:
    if not _HAS_LOCKS:
        return None
    try:
        return os.open(folder / CLAIMS_NAME, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:  # another user's, say
        return None


class Claims:
    """What one run of this process claims in a folder; safe to use from several threads.

    On a file system without locks nothing keeps other processes apart: an image may be drawn twice, which is the same
    image twice.
    """

    def __init__(self, folder: Path) -> None:
        """Open the folder's claims.

        Raises:
            OSError: there is no such folder.
        """
        status = folder.stat()
        self._key = os.getpid(), status.st_dev, status.st_ino
        self._own: set[int] = set()
        with _guard:
            if self._key not in _files:
                _files[self._key] = _ClaimsFile(_open(folder))
            self._file = _files[self._key]
            self._file.users += 1

    def take(self, name: str) -> bool:
        """Claim an image; return False where another process, or another run of this one, has it."""
        byte = _byte_of(name)
        with _guard:
            if byte in self._file.taken or not _lock(self._file.descriptor, byte):
                return False
            self._file.taken.add(byte)
            self._own.add(byte)
        return True

    def release(self, name: str) -> None:
        """Give a claim of this run back."""
        with _guard:
            self._release(_byte_of(name))

    def _release(self, byte: int) -> None:
        self._own.remove(byte)
        self._file.taken.remove(byte)
        _unlock(self._file.descriptor, byte)

    def close(self) -> None:
        """Give everything back."""
        with _guard:
            for byte in list(self._own):
                self._release(byte)
            self._file.users -= 1
            if self._file.users == 0:
                del _files[self._key]
                if self._file.descriptor is not None:
                    os.close(self._file.descriptor)


def _lock(descriptor: int | None, byte: int) -> bool:
    """Lock a byte without waiting; return whether no other process has it, as far as the file system knows."""
    if descriptor is None:
        return True
    import fcntl

    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
    except (BlockingIOError, PermissionError):  # POSIX allows either
        return False
    except OSError:  # the file system knows no locks
        return True
    return True


def _unlock(descriptor: int | None, byte: int) -> None:
    if descriptor is not None:
        import fcntl

        with contextlib.suppress(OSError):
            fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, byte)


@contextlib.contextmanager
def opened_claims(folder: Path) -> Iterator[Claims]:
    """Yield a folder's claims, and give back at the end what is held."""
    claims = Claims(folder)
    try:
        yield claims
    finally:
        claims.close()
