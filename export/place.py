"""Where a build puts its bundle: it is made beside its place and moved there whole, by one process at a time."""

import ctypes
import errno
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from mulo_sd.engines.files.folder_beside import folder_beside
from mulo_sd.export.own_bundle import WRITTEN, BuildError, check_place, known_files, remove_known

# In every folder of a build that is under way, beside the bundle that it makes.
MARKER = "unfinished-mulo-sd-build"
PARTIAL = re.compile(r"\.(.+)\.partial-\w{8}")
OLD = ".old"  # ends the name of a bundle that is about to be replaced
AT_FDCWD, RENAME_EXCHANGE = -100, 2


def place_of(out: Path) -> Path:
    """Return the folder that holds the bundle of `out`: where a symbolic link points, which stays."""
    return Path(os.path.realpath(out))


@contextmanager
def _lock(place: Path, wait: Callable[[], None] | None) -> Iterator[bool]:
    """Hold the lock of a place; yield whether it could be taken: some file systems have no locks.

    Args:
        place: Of the bundle.
        wait: Called before waiting for another builder; with None, `Timeout` is raised instead.
    """
    lock = FileLock(place.with_name(f".{place.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if wait is None:
            raise
        wait()
        lock.acquire(poll_interval=0.2)
    except (OSError, NotImplementedError) as error:  # the latter is filelock's, where there is no flock
        if isinstance(error, OSError) and error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):
            raise
        yield False
        return
    try:
        yield True
    finally:
        # While it is held: whoever waits sees that the file is gone, and makes another.
        with suppress(OSError):
            Path(lock.lock_file).unlink()
        lock.release()


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two folders in one step, where the system can; return whether it did."""
    if sys.platform != "linux":
        return False
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is None:
        return False
    return bool(rename(AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), RENAME_EXCHANGE) == 0)


def put_in_place(built: Path, place: Path, force: bool, say: Callable[[str], None]) -> None:
    """Move a finished bundle to its place; one that is there goes only now.

    Args:
        built: Gone afterwards.
        place: Without links, in the file system of `built`.
        force: Replace a bundle that is there.
        say: Takes a line for the user.

    Raises:
        BuildError: something is there that may not be replaced.
        OSError: it cannot be moved; what was there is still there.
    """
    if not os.path.lexists(place):
        built.rename(place)
        return
    if not force:
        raise BuildError(f"{place}: another build finished there meanwhile; this one was dropped")
    check_place(place, force)
    is_known = known_files(place)
    old = built
    if not _exchange(built, place):
        old = built.with_name(place.name + OLD)
        place.rename(old)
        try:
            built.rename(place)
        except BaseException:
            old.rename(place)
            raise
    if not remove_known(old, is_known):
        say(f"{old}: holds what somebody else put into the old bundle meanwhile; it was kept")


def _is_left_by_a_build(path: str) -> bool:
    _, _, inside = path.partition("/")
    return path == MARKER or WRITTEN.fullmatch(inside) is not None


def _remove_left(folder: Path) -> None:
    remove_known(folder, _is_left_by_a_build)


def _clean(folder: Path, name: str) -> None:
    """Remove what a killed build of a bundle left; where it was killed as it replaced one, put that back."""
    place, old = folder.with_name(name), folder / (name + OLD)
    if old.is_dir() and not os.path.lexists(place):
        old.rename(place)
    _remove_left(folder)


def clean_leftovers(place: Path) -> None:
    """Remove what killed builds left in the folder of a place, while its lock is held; running builds are let be."""
    for folder in list(place.parent.iterdir()):
        match = PARTIAL.fullmatch(folder.name)
        if match is None or folder.is_symlink() or not (folder / MARKER).is_file():
            continue
        with suppress(Timeout, OSError):  # it is no part of this build whether another's leftovers can be removed
            if match[1] == place.name:
                _clean(folder, match[1])
                continue
            with _lock(folder.with_name(match[1]), None) as alone:
                if alone:
                    _clean(folder, match[1])


@contextmanager
def new_bundle(out: Path, force: bool, say: Callable[[str], None]) -> Iterator[Path]:
    """Yield an empty folder; at the end it is moved to its place, whole, or removed where something is raised.

    Args:
        out: The bundle's folder.
        force: Replace a bundle that is there.
        say: Takes a line for the user.

    Raises:
        BuildError: something is there that may not be replaced.
    """
    place = place_of(out)
    check_place(place, force)
    place.parent.mkdir(parents=True, exist_ok=True)
    with _lock(place, lambda: say(f"{out}: waiting for another build of it to end")) as alone:
        if alone:
            clean_leftovers(place)
        check_place(place, force)
        with folder_beside(place.parent, f".{place.name}.partial-", _remove_left) as folder:
            built = folder / place.name
            (folder / MARKER).touch()
            built.mkdir()
            try:
                yield built
            except BaseException:
                shutil.rmtree(built, ignore_errors=True)  # made here, and nobody else's
                raise
            put_in_place(built, place, force, say)
