"""Read text and JSON from outside: UTF-8 with or without a byte-order mark, lines that LF or CRLF ends, strict JSON."""

import json
from pathlib import Path
from typing import Any, NoReturn

UTF8_MARK = b"\xef\xbb\xbf"
# The marks of UTF-32 begin as those of UTF-16 do, or with zeros.
OTHER_MARKS = {b"\xff\xfe\0\0": "UTF-32", b"\0\0\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


class TextFileError(ValueError):
    """A text file that cannot be read; its message is one line for the user."""


def read_text(path: Path, max_bytes: int, content: str = "text") -> str:
    """Return a file's text, without a byte-order mark.

    Args:
        path: The file.
        max_bytes: The largest size that is read.
        content: What the file should hold, for messages.

    Raises:
        TextFileError: no such file, too large, or not UTF-8.
    """
    try:
        if not (path.is_file() or path.is_fifo()):  # a pipe is what a shell's <(command) gives
            raise TextFileError(f"{path}: expected a file of {content}, found none; give the path of one")
        if path.stat().st_size > max_bytes:
            raise TextFileError(f"{path}: expected at most {max_bytes} bytes, got {path.stat().st_size}")
        with path.open("rb") as file:
            read = file.read(max_bytes + 1)
        if len(read) > max_bytes:
            raise TextFileError(f"{path}: expected at most {max_bytes} bytes, got more")
    except OSError as error:
        raise TextFileError(f"{path}: cannot read it: {error.strerror or error}") from None
    return decoded(read, str(path))


def decoded(content: bytes, where: str) -> str:
    """Decode UTF-8, without a byte-order mark.

    Args:
        content: The bytes.
        where: The file's name, for messages.

    Raises:
        TextFileError: they are not UTF-8.
    """
    for mark, name in OTHER_MARKS.items():
        if content.startswith(mark):
            raise TextFileError(f"{where}: expected text in UTF-8, got {name}; save it as UTF-8")
    try:
        return content.removeprefix(UTF8_MARK).decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise TextFileError(
            f"{where}: line {line}: expected text in UTF-8, got other bytes; save it as UTF-8"
        ) from None


def lines_of(text: str) -> list[str]:
    """Split a text into lines, which LF or CRLF ends.

    `str.splitlines` would also split at the form feeds, U+0085 and U+2028 that a prompt or a JSON string may hold.
    """
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines if lines[-1] else lines[:-1]


def strict_json(text: str, with_constants: bool = False) -> Any:
    """Parse JSON strictly: no name twice in one object, no NaN or infinity.

    Args:
        text: JSON.
        with_constants: Let NaN and infinities pass, for a caller that names the field that holds one.

    Raises:
        ValueError: it is not JSON, names something twice in one object, or holds NaN or an infinity.
    """
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=None if with_constants else _refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    name_to_value: dict[str, Any] = {}
    for name, value in pairs:
        if name in name_to_value:
            raise ValueError(f"it names {name[:40]!r} twice in one object")
        name_to_value[name] = value
    return name_to_value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"it holds {constant}, which JSON does not have")
