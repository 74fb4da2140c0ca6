"""Files that are there whole or not at all."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file beside its place and move it there.

    Args:
        path: Its place; its folder exists.
        write: Writes the file whose path it is given.

    Raises:
        OSError: it cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=path.resolve().parent) as folder:
        beside = Path(folder) / path.name
        write(beside)
        beside.replace(path)


def write_bytes_whole(path: Path, content: bytes) -> None:
    """Write bytes beside a file's place and move them there.

    Raises:
        OSError: it cannot be written.
    """
    write_whole(path, lambda beside: beside.write_bytes(content))
