"""Read arrays from an npz file from outside: no pickles, and sizes are checked before anything is unpacked."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_FILE_BYTES = 2**28


class NpzError(ValueError):
    """An npz file that cannot be used; the message is one line for the user."""


def read_npz(path: Path, max_array_bytes: int) -> dict[str, NDArray[Any]]:
    """Read all arrays of an npz file.

    Args:
        path: The file.
        max_array_bytes: The largest size of all arrays together.

    Raises:
        NpzError: the file does not exist, is too large, or is not an npz file of plain arrays.
    """
    try:
        file_bytes = path.stat().st_size if path.is_file() else None
    except OSError as error:  # a name that is too long, a folder that may not be read
        raise NpzError(f"{path}: cannot read it: {error.strerror or error}") from None
    if file_bytes is None:
        raise NpzError(f"{path}: expected an npz file, found none; give the path of one")
    if file_bytes > MAX_FILE_BYTES:
        raise NpzError(f"{path}: expected at most {MAX_FILE_BYTES} bytes, got {file_bytes}")
    try:
        with zipfile.ZipFile(path) as archive:
            array_bytes = sum(member.file_size for member in archive.infolist())
        if array_bytes > max_array_bytes:
            raise NpzError(f"{path}: expected arrays of at most {max_array_bytes} bytes, got {array_bytes}")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except NpzError:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise a dozen classes for other files
        raise NpzError(
            f"{path}: expected an npz file of plain arrays, got another file ({type(error).__name__})"
        ) from None
