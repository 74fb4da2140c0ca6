"""One process trains in a folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from mulo_sd.reference.train.checkpoints import RunError


@contextmanager
def alone(path: Path, expected: str, seconds: float = 0.0) -> Iterator[None]:
    """Hold a lock until the end of the block; where the file system has none, do without.

    Args:
        path: Of its file, in a folder that exists.
        expected: Begins the message where another process has it.
        seconds: To wait for that one.

    Raises:
        RunError: another process has it.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=seconds)
    except Timeout:
        raise RunError(f"{expected}, found one; wait for it, or give another --out") from None
    except NotImplementedError:  # filelock's, where there is no flock
        yield
        return
    try:
        yield
    finally:
        lock.release()
