"""The study's raw data: one row an image, appended to rows.jsonl, from which everything else is made."""

import base64
import binascii
import json
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter

from mulo_sd.engines.files.paths import first_existing

ROWS_NAME, LOCK_NAME = "rows.jsonl", ".lock"
ROW_START = b'{"identity": '  # of every line
Side = Annotated[int, Field(ge=1, le=4096)]
Finite = Annotated[float, Field(allow_inf_nan=False)]  # JSON's NaN is Python's invention
Scene = tuple[int, int]  # the task's number, and the number of its held-out scene


class StudyError(ValueError):
    """A request or a folder that the study cannot use; its message is one line for the user."""


@dataclass(frozen=True)
class Row:
    """One image of one variant.

    Attributes:
        identity: Of the variant (`variants.identity`).
        variant: The name under which it was drawn first, for people.
        task: The prompt's task.
        task_number: Its number in the vocabulary.
        index: Of the task's held-out scenes.
        seed: Of every sample.
        holds: Whether the evaluator finds what the prompt asks for.
        seconds: Wall-clock seconds of the decode; None where it was drawn in a batch.
        batched: Whether it was drawn in a batch.
        tokens: Int16[H, W] little-endian, compressed and in base64.
        nfe_by_model: Passes of each model by its number (RNG-2), prefills included; None in rows of earlier versions.
        fed_target: Tokens that the target's passes fed, the prefill's included; None likewise.
    """

    identity: str
    variant: str
    task: str
    task_number: int
    index: int
    seed: int
    holds: bool
    acceptance_rate: Finite
    resampled_rate: Finite
    nfe_target: int
    nfe_drafter: int
    cycles: int
    seconds: Finite | None
    batched: bool
    height: Side
    width: Side
    tokens: str
    nfe_by_model: dict[str, int] | None = None
    fed_target: int | None = None

    @property
    def scene(self) -> Scene:
        return (self.task_number, self.index)

    @property
    def key(self) -> tuple[str, int, int]:
        return (self.identity, self.task_number, self.index)

    @property
    def nfe(self) -> int:
        return self.nfe_target + self.nfe_drafter

    def grid(self) -> NDArray[np.int64]:
        """Return the tokens, Int[H, W]."""
        return unpack_tokens(self.tokens, self.height, self.width)


_ROW = TypeAdapter(Row)


def pack_tokens(tokens: NDArray[np.int64]) -> str:
    """Return a token grid, Int[H, W] below 2^15, as text."""
    if tokens.min() < 0 or tokens.max() >= 2**15:
        raise ValueError(f"tokens: expected 0..{2**15 - 1}, got {tokens.min()}..{tokens.max()}")
    return base64.b64encode(zlib.compress(tokens.astype("<i2").tobytes(), 9)).decode()


def unpack_tokens(text: str, height: int, width: int) -> NDArray[np.int64]:
    """Return the token grid, Int[H, W], that `pack_tokens` wrote."""
    # No more than the grid takes: what is packed may claim to be anything.
    content = zlib.decompressobj().decompress(base64.b64decode(text), 2 * height * width + 1)
    return np.frombuffer(content, dtype="<i2").reshape(height, width).astype(np.int64)


def _row(line: bytes, path: Path, number: int) -> Row:
    try:
        row = _ROW.validate_json(line)
        row.grid()
    except (ValueError, zlib.error, binascii.Error):  # pydantic's errors are ValueErrors
        raise StudyError(
            f"{path}, line {number}: expected a row of this version's study; remove the line or take another folder"
        ) from None
    return row


def read_rows(folder: Path) -> list[Row]:
    """Return the rows of a folder; none where it has none yet. A torn last line is cut off the file.

    Raises:
        StudyError: a whole line is no row, or the file is another's.
    """
    path = folder / ROWS_NAME
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    rows = [_row(line, path, number) for number, line in enumerate(whole.split(b"\n")[:-1], start=1)]
    torn = content[len(whole) :]
    if torn:  # a run was killed while it wrote; the next row must not continue that line
        if not rows and torn[: len(ROW_START)] != ROW_START[: len(torn)]:
            raise StudyError(f"{path}: expected rows of a study, got something else; take another folder")
        with path.open("r+b") as file:
            file.truncate(len(whole))
    return list({row.key: row for row in rows}.values())


def check_folder(folder: Path, names: Iterable[str]) -> None:
    """Check that a study may begin in a folder, or go on there.

    Args:
        folder: May not be there yet.
        names: Of the files that a report consists of.

    Raises:
        StudyError: the folder holds no study, and files of these names.
    """
    if (folder / ROWS_NAME).exists():
        return
    lock = folder / LOCK_NAME
    there = lock if lock.is_file() and lock.stat().st_size else first_existing(folder, names)
    if there is not None:
        raise StudyError(f"--out: expected no files but a study's, found {there}; move it away, or give another folder")


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder; the system lets go of it when this process ends, however it ends.

    Raises:
        StudyError: another run draws into the folder.
    """
    lock = FileLock(folder / LOCK_NAME)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise StudyError(
            f"{folder}: expected no other study drawing into it, got one; wait for it or take another folder"
        ) from None
    try:
        yield
    finally:
        lock.release()


class RowLog:
    """Appends rows to a folder, one whole line at a time."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / ROWS_NAME).open("a", encoding="utf-8")

    def __enter__(self) -> "RowLog":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, row: Row) -> None:
        self._file.write(json.dumps(asdict(row)) + "\n")
        self._file.flush()
