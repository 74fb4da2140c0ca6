"""Paths from outside: `~` means a home folder, whoever gives it (no shell expands `--out=~/a.png`)."""

import argparse
import os
from pathlib import Path

from mulo_sd.engines.numbers import SettingsError


def expanded(path: Path | str) -> Path:
    """Return a path with `~` and `~NAME` at its beginning replaced by the home folder.

    Where there is no such user, or the home folder is not known, the path is returned as it is: a file may be called
    so.

    Raises:
        SettingsError: it is no path, but None or a number, say.
    """
    if not isinstance(path, str | os.PathLike):
        raise SettingsError(f"path: expected one as text or as a Path, got {path!r:.80}")
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def user_path(text: str) -> Path:
    """Return the path that an option of a command says; for `type` of argparse.

    Raises:
        argparse.ArgumentTypeError: the text is empty, or its `~NAME` is nobody's home.
    """
    if not text.strip():
        raise argparse.ArgumentTypeError("expected a path, got an empty text")
    if "\0" in text:
        raise argparse.ArgumentTypeError(f"expected a path, got one with a NUL: {text[:40]!r}")
    try:
        path = Path(text).expanduser()
        path.exists()
        return path
    except OSError as error:  # a name that no file system takes, a loop of links
        raise argparse.ArgumentTypeError(f"expected a path, got {text[:40]!r}: {error.strerror or error}") from None
    except RuntimeError:
        name = text.partition("/")[0]
        raise argparse.ArgumentTypeError(
            f"expected a path, got {text[:80]!r}: {name!r} has no home folder; a file that is called so is ./{name}"
        ) from None
