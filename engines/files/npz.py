"""Arrays from an npz file that comes from outside: no pickles, and bounded before anything is unpacked."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_FILE_BYTES = 2**28


class NpzError(ValueError):
    """A file that cannot be used; its message is one line for the user."""


def read_npz(path: Path, max_array_bytes: int) -> dict[str, NDArray[Any]]:
    """Read all arrays of an npz file.

    Args:
        path: The file.
        max_array_bytes: Of all arrays together.

    Raises:
        NpzError: no such file, too large, or no npz file of plain arrays.
    """
    try:
        size = path.stat().st_size if path.is_file() else None
    except OSError as error:  # a name that is too long, a folder that may not be read
        raise NpzError(f"{path}: cannot read it: {error.strerror or error}") from None
    if size is None:
        raise NpzError(f"{path}: expected an .npz file, found none; give the path of one")
    if size > MAX_FILE_BYTES:
        raise NpzError(f"{path}: expected at most {MAX_FILE_BYTES} bytes, got {size}")
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(item.file_size for item in archive.infolist())
        if size > max_array_bytes:
            raise NpzError(f"{path}: expected arrays of at most {max_array_bytes} bytes, got {size}")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except NpzError:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise a dozen classes for files that are none
        raise NpzError(f"{path}: expected an npz file of plain arrays, got: {type(error).__name__}") from None
