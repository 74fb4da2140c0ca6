"""Names of files: to compare, to show, and those that caption files give."""

import os
import posixpath
import unicodedata


def key_of(name: str) -> bytes:
    """Return what two spellings of one name have in common: "é" may be one character, or "e" and an accent.

    Args:
        name: A file's name; bytes that are no UTF-8 are surrogates, as Python gives them.

    Raises:
        UnicodeEncodeError: it is no name that a file can have.
    """
    return os.fsencode(unicodedata.normalize("NFC", name))


def shown(name: str) -> str:
    """Return a name as a part of one line: what cannot be printed is escaped."""
    return name if name.isprintable() else name.encode("unicode_escape").decode("ascii")


def inside(root: str, base: str, name: str) -> str | None:
    """Return a path of a caption file relative to the folder of pictures; None where it leaves it.

    Args:
        root: The folder of pictures, absolute.
        base: Where the caption file's names begin, relative to `root`; "" is `root` itself.
        name: As the caption file has it.
    """
    if posixpath.isabs(name):
        normal = posixpath.relpath(posixpath.normpath(name), root)
    else:
        normal = posixpath.normpath(posixpath.join(base, name))
    return None if normal in (".", "..") or normal.startswith("../") else normal


def is_inside(root: str, real: str) -> bool:
    """Return whether a real path is one below a real folder."""
    return real.startswith(root.rstrip("/") + "/")
