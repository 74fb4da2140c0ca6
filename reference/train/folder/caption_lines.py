"""Caption files: JSONL, or CSV with a header; one line after the other, whatever their size."""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from mulo_sd.engines.files.text_files import OTHER_MARKS, UTF8_MARK, TextFileError, decoded, strict_json
from mulo_sd.reference.train.folder.names import shown
from mulo_sd.reference.train.folder.options import FolderError

NAME_FIELDS = ("file_name", "image", "file", "path")
TEXT_FIELDS = ("text", "caption", "prompt")
FORMS = (".jsonl", ".csv")

MAX_LINE_BYTES = 2**20
MAX_CHARACTERS = 4096  # of a caption: no prefix holds more
MAX_CAPTIONS = 64  # of one line

OPEN_QUOTE = "unexpected end of data"  # the csv module's words for a quote that is never closed
OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs"}
EXPECTED = f"{' or '.join(NAME_FIELDS)}, and {' or '.join(TEXT_FIELDS)}"


class CaptionLine(NamedTuple):
    """What a line says: its number, the picture as the line names it, and that picture's captions."""

    number: int
    name: str
    captions: tuple[str, ...]


class UnusableLine(NamedTuple):
    """A line that says nothing, and why."""

    number: int
    why: str


def tidy(text: str) -> str:
    """Return a caption in one line, without half characters; "" where nothing is left."""
    return " ".join(text[:MAX_CHARACTERS].encode("utf-8", "replace").decode("utf-8").replace("\0", " ").split())


def caption_lines(path: Path) -> Iterator[CaptionLine | UnusableLine]:
    """Yield what the lines of a caption file say.

    Raises:
        FolderError: no such file, no such form, or no header that is understood.
    """
    if path.suffix.lower() not in FORMS:
        raise FolderError(f"{shown(str(path))}: expected captions in a file {' or '.join(FORMS)}, got another suffix")
    if not path.is_file():
        found = "a folder" if path.is_dir() else "none"
        raise FolderError(f"{shown(str(path))}: expected a file of captions, found {found}")
    try:
        with path.open("rb") as file:
            head = file.read(max(map(len, OTHER_MARKS)))
        if head.startswith(tuple(OTHER_MARKS)):
            decoded(head, shown(str(path)))  # says which encoding it is
        yield from (_csv_lines if path.suffix.lower() == ".csv" else _json_lines)(path)
    except TextFileError as error:
        raise FolderError(str(error)) from None
    except OSError as error:
        raise FolderError(f"{shown(str(path))}: cannot read it: {error.strerror or error}") from None


def _raw_lines(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """Yield numbered lines; None in place of one that is too long, which is never held as a whole."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            is_long = len(line) > MAX_LINE_BYTES
            while len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
                line = file.readline(MAX_LINE_BYTES + 1)
            yield number, None if is_long else line


def _json_lines(path: Path) -> Iterator[CaptionLine | UnusableLine]:
    for number, raw in _raw_lines(path):
        if raw is None:
            yield UnusableLine(number, f"expected a line of at most {MAX_LINE_BYTES} bytes, got a longer one")
            continue
        if not raw.strip():
            continue
        try:
            value = strict_json(decoded(raw, "line"), with_constants=True)
            if not isinstance(value, dict):
                raise ValueError(f"expected an object with {EXPECTED}, got {json.dumps(value):.40}")
            yield _line(number, value)
        except json.JSONDecodeError as error:
            yield UnusableLine(number, f"expected JSON, got: {error.msg} at character {error.pos + 1}")
        except TextFileError:
            yield UnusableLine(number, "expected text in UTF-8, got other bytes")
        except ValueError as error:
            yield UnusableLine(number, str(error))


def _csv_texts(path: Path) -> Iterator[str]:
    """Yield the lines of a CSV file as text.

    Raises:
        FolderError: one is too long or not UTF-8: where a quoted field ends is not known any more.
    """
    for number, raw in _raw_lines(path):
        if raw is None:
            raise FolderError(f"{shown(str(path))}: line {number}: expected at most {MAX_LINE_BYTES} bytes, got more")
        try:
            yield (raw.removeprefix(UTF8_MARK) if number == 1 else raw).decode("utf-8")
        except UnicodeDecodeError:
            raise FolderError(
                f"{shown(str(path))}: line {number}: expected text in UTF-8, got other bytes; save it as UTF-8"
            ) from None


def _csv_lines(path: Path) -> Iterator[CaptionLine | UnusableLine]:
    csv.field_size_limit(MAX_LINE_BYTES)
    rows = csv.reader(_csv_texts(path), strict=True)
    try:
        header = [name.strip() for name in next(rows, [])]
    except csv.Error as error:
        raise FolderError(f"{shown(str(path))}: line 1: expected a header of CSV, got: {error}") from None
    if not (set(header) & set(NAME_FIELDS) and set(header) & set(TEXT_FIELDS)):
        raise FolderError(
            f"{shown(str(path))}: expected a header with {EXPECTED}, got {','.join(header)!r:.80}{_separated(header)}"
        )
    twice = [name for name in dict.fromkeys(header) if name in (*NAME_FIELDS, *TEXT_FIELDS) and header.count(name) > 1]
    if twice:
        raise FolderError(f"{shown(str(path))}: expected each field once in the header, got {twice[0]!r} twice")
    while True:
        first = rows.line_num + 1
        try:
            row = next(rows, None)
        except csv.Error as error:
            why = f"expected a line of CSV, got: {error}"
            if OPEN_QUOTE in str(error):
                why = f"expected a closing quote, found none up to line {rows.line_num}, the last; all of that is lost"
            yield UnusableLine(first, why)
            continue
        if row is None:
            return
        if not any(cell.strip() for cell in row):
            continue
        try:
            if len(row) != len(header):
                raise ValueError(f"expected {len(header)} fields, got {len(row)}")
            yield _line(rows.line_num, dict(zip(header, row, strict=True)))
        except ValueError as error:
            yield UnusableLine(rows.line_num, str(error))


def _separated(header: Sequence[str]) -> str:
    """Return what to do where the fields of a header are separated by something else, as some spreadsheets do it."""
    found = [what for sign, what in OTHER_SEPARATORS.items() if len(header) == 1 and sign in header[0]]
    return f": save it with commas in place of {found[0]}" if found else ""


def _first(fields: dict[str, object], names: Sequence[str]) -> object:
    return next((fields[name] for name in names if fields.get(name) not in (None, "")), None)


def _line(number: int, fields: dict[str, object]) -> CaptionLine:
    """Return what the fields of a line say.

    Raises:
        ValueError: too little.
    """
    name, texts = _first(fields, NAME_FIELDS), _first(fields, TEXT_FIELDS)
    if not isinstance(name, str) or "\0" in name:
        raise ValueError(f"expected the name of a picture in {' or '.join(NAME_FIELDS)}, got none")
    listed = texts if isinstance(texts, list) else [texts]
    captions = tuple(filter(None, (tidy(text) for text in listed[:MAX_CAPTIONS] if isinstance(text, str))))
    if not captions:
        raise ValueError(f"expected a text, or a list of texts, in {' or '.join(TEXT_FIELDS)}, got none")
    return CaptionLine(number, name, captions)
