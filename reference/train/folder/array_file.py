"""An npy file that grows by a picture at a time, and whose header is written last."""

import os
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray


class ArrayFile:
    """UInt8[rows, side, side, 3] in a file; a context manager that closes it."""

    def __init__(self, path: Path, side: int, rows: int) -> None:
        """Open the file, or begin one; what it holds behind the first `rows` pictures is cut off.

        Args:
            path: Of the file.
            side: Pixels a side.
            rows: Pictures that it holds already.
        """
        self.side, self.rows = side, rows
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+b")
        self._write_header()
        # numpy leaves room in the header for any number of rows.
        self._first = self._file.tell()
        self._file.truncate(self._first + rows * side * side * 3)
        self._file.seek(0, os.SEEK_END)

    def _write_header(self) -> None:
        shape = (self.rows, self.side, self.side, 3)
        self._file.seek(0)
        np.lib.format.write_array_header_1_0(
            self._file,
            {"shape": shape, "fortran_order": False, "descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8))},
        )

    def __enter__(self) -> "ArrayFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, pixels: NDArray[np.uint8]) -> None:
        """Add a picture, UInt8[side, side, 3]."""
        self._file.write(np.ascontiguousarray(pixels).data)
        self.rows += 1

    def sync(self) -> None:
        """Return when everything is on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def finish(self) -> None:
        """Write the header for the pictures that are there."""
        self._write_header()
        assert self._file.tell() == self._first, "the header has grown over the first picture"
        self.sync()
