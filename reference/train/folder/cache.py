"""The pictures of a folder as they are learned from, in a folder of the run: whole, or not there.

`pictures.npy` holds them in one array, which is mapped into memory; `pictures.jsonl` a line for each: name, size,
captions; `held_out.jsonl` those lines of them that no model learns from; `offsets.npy` where the lines begin;
`hashes.npy` what they look like; `left_out.jsonl` what is not there, and why; `pictures.json` what all this was made
from.
"""

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.files.text_files import TextFileError, read_text, strict_json
from mulo_sd.engines.files.whole_files import write_bytes_whole
from mulo_sd.reference.train.folder import catalogue
from mulo_sd.reference.train.folder.names import shown
from mulo_sd.reference.train.folder.options import FolderError
from mulo_sd.reference.train.folder.picture import HASH_BYTES

FOLDER = "picture_cache"
PICTURES, LINES, OFFSETS, HASHES = "pictures.npy", "pictures.jsonl", "offsets.npy", "hashes.npy"
LEFT_OUT, HELD_OUT, HEADER = "left_out.jsonl", "held_out.jsonl", "pictures.json"
PREFIX_FILES = "prefix-*.json"
# By a reading; the header first: without it, what a kill leaves of the others is no cache.
WRITTEN = (HEADER, PICTURES, LINES, OFFSETS, HASHES, LEFT_OUT, HELD_OUT, *catalogue.FILES)

VERSION = 2  # of the files; another one is made anew
MAX_HEADER_BYTES = 2**20


@dataclass(frozen=True)
class Header:
    """What a cache was made from, and what is in it.

    Attributes:
        fingerprint: Of the folder's files and of what was asked for (`Fingerprint`).
        side: Pixels a side.
        rows: Pictures.
        captions: Of all pictures.
        counts: The report's, by name.
        other_files: The report's.
        left_out: The report's.
        converted: The report's.
    """

    fingerprint: str
    side: int
    rows: int
    captions: int
    counts: dict[str, int]
    other_files: dict[str, int]
    left_out: dict[str, int]
    converted: dict[str, int]


@dataclass(frozen=True)
class PictureCache:
    """A cache that is there."""

    folder: Path
    header: Header

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs to open the same files."""
        return {"folder": self.folder, "header": self.header}

    @cached_property
    def _pixels(self) -> NDArray[np.uint8]:
        pixels: NDArray[np.uint8] = np.load(self.folder / PICTURES, mmap_mode="r", allow_pickle=False)
        return pixels

    @cached_property
    def _lines(self) -> NDArray[np.uint8]:
        return np.memmap(self.folder / LINES, np.uint8, "r")

    @cached_property
    def _offsets(self) -> NDArray[np.int64]:
        offsets: NDArray[np.int64] = np.load(self.folder / OFFSETS, mmap_mode="r", allow_pickle=False)
        return offsets

    def hashes(self) -> NDArray[np.uint8]:
        """Return UInt8[rows, HASH_BYTES]."""
        hashes: NDArray[np.uint8] = np.load(self.folder / HASHES, allow_pickle=False)
        return hashes

    def content_hash(self) -> str:
        """Return a hash of the names, captions and looks of all pictures, in hex."""
        digest = sha256()
        for name in (LINES, HASHES):
            with (self.folder / name).open("rb") as file:
                digest.update(file_digest(file, "sha256").digest())
        return digest.hexdigest()

    def pixels(self, row: int) -> NDArray[np.uint8]:
        """Return a picture, UInt8[side, side, 3], as a copy."""
        return np.array(self._pixels[row])

    def _line(self, row: int) -> bytes:
        return self._lines[self._offsets[row] : self._offsets[row + 1]].tobytes()

    def captions(self, row: int) -> tuple[str, ...]:
        """Return a picture's captions; none where it has none."""
        return tuple(json.loads(self._line(row))["captions"])

    def list_held_out(self, rows: NDArray[np.int64]) -> None:
        """Write for people which pictures are held out, where it is not written yet.

        Raises:
            OSError: it cannot be written.
        """
        path, content = self.folder / HELD_OUT, b"".join(self._line(int(row)) for row in rows)
        if not path.is_file() or path.read_bytes() != content:
            write_bytes_whole(path, content)

    def check(self) -> None:
        """Check that the files hold what the header says.

        Raises:
            OSError, ValueError: they do not, or one is missing.
        """
        rows, side = self.header.rows, self.header.side
        shapes = (self._pixels.shape, self._offsets.shape, self.hashes().shape)
        kinds = (str(self._pixels.dtype), str(self._offsets.dtype), str(self.hashes().dtype))
        if shapes != ((rows, side, side, 3), (rows + 1,), (rows, HASH_BYTES)) or kinds != ("uint8", "int64", "uint8"):
            raise ValueError("its arrays are of other shapes")
        if self._offsets[-1] != (self.folder / LINES).stat().st_size:
            raise ValueError("its lines are of another size")


def open_cache(folder: Path, fingerprint: str) -> PictureCache | None:
    """Return the cache of a run's folder; None where there is none, or one of other pictures or options."""
    try:
        value = strict_json(read_text(folder / FOLDER / HEADER, MAX_HEADER_BYTES))
        if value.pop("version") != VERSION:
            return None
        cache = PictureCache(folder / FOLDER, Header(**value))
        if cache.header.fingerprint != fingerprint:
            return None
        cache.check()
    except (TextFileError, OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return cache


def remove(folder: Path) -> None:
    """Remove what a reading wrote into a folder, and the folder.

    Raises:
        FolderError: something else is in it; then all of it stays.
    """
    if not os.path.lexists(folder):
        return
    if not folder.is_dir() or folder.is_symlink():
        raise FolderError(f"{folder}: expected a folder that this command wrote, got something else; move it away")
    others = [path.name for path in folder.iterdir() if path.name not in WRITTEN and not path.match(PREFIX_FILES)]
    if others:
        raise FolderError(
            f"{folder}: expected nothing but what this command wrote, got {shown(min(others))}; move it away"
        )
    for name in WRITTEN:
        with suppress(FileNotFoundError):
            (folder / name).unlink()
    for path in folder.glob(PREFIX_FILES):
        path.unlink()
    folder.rmdir()
