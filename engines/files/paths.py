"""Paths from outside: `~` means a home folder, also where no shell expands it (`--out=~/a.png`)."""

import argparse
import os
from collections.abc import Iterable
from pathlib import Path

from mulo_sd.engines.numbers import SettingsError


def expanded(path: Path | str) -> Path:
    """Return a path with `~` or `~NAME` at its beginning replaced by the home folder.

    Where there is no such user, or the home folder is not known, the path is returned unchanged: a file may have such
    a name.

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
    """Return the path that a command-line option names; for argparse's `type`.

    Raises:
        argparse.ArgumentTypeError: the text is empty, cannot be a path, or begins with the `~NAME` of an unknown user.
    """
    if not text.strip():
        raise argparse.ArgumentTypeError("expected a path, got an empty text")
    if "\0" in text:
        raise argparse.ArgumentTypeError(f"expected a path, got one with a NUL character: {text[:40]!r}")
    try:
        path = Path(text).expanduser()
        path.exists()
        return path
    except OSError as error:  # a name that no file system takes, a loop of links
        raise argparse.ArgumentTypeError(f"expected a path, got {text[:40]!r}: {error.strerror or error}") from None
    except RuntimeError:
        name = text.partition("/")[0]
        raise argparse.ArgumentTypeError(
            f"expected a path, got {text[:80]!r}: {name!r} has no home folder; write ./{name} for a file of this name"
        ) from None


def first_existing(folder: Path, names: Iterable[str]) -> Path | None:
    """Return the first of some file names that exists in a folder, broken links included; None where none does.

    A command that writes fixed names into a folder asks this first: it replaces the files of its own earlier runs and
    nobody else's.
    """
    return next((folder / name for name in names if os.path.lexists(folder / name)), None)
