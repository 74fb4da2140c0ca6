"""From a user's folder to examples: the cache that is there, or one that is made."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout
from rich.console import Console

from mulo_sd.engines.files.whole_files import make_folder
from mulo_sd.reference.train.folder.build_cache import Reading, build_cache
from mulo_sd.reference.train.folder.cache import FOLDER, LEFT_OUT, PictureCache, open_cache
from mulo_sd.reference.train.folder.caption_prefix import CaptionPrefix, caption_prefix, given_tokenizer
from mulo_sd.reference.train.folder.catalogue import discard
from mulo_sd.reference.train.folder.examples import FolderExamples
from mulo_sd.reference.train.folder.listing import Entry, walk
from mulo_sd.reference.train.folder.names import shown
from mulo_sd.reference.train.folder.options import FolderError, FolderOptions
from mulo_sd.reference.train.folder.report import FolderReport
from mulo_sd.reference.train.folder.split import LEAST, Split, split
from mulo_sd.reference.train.folder.telling import Teller

LOCK = f"{FOLDER}.lock"


def open_folder(
    options: FolderOptions,
    run_folder: Path,
    say: Callable[[str], None],
    console: Console | None = None,
    begun_with: str | None = None,
) -> FolderExamples:
    """Return a folder's pictures as examples.

    Args:
        options: The folder, and what is asked of it.
        run_folder: Of the run, made if it is not there: the cache goes into it. It may lie among the pictures; what is
            in it is none of them.
        say: Shows a line: what is left out, how much room is needed, and a summary.
        console: Where progress is shown; standard error if none is given.
        begun_with: Hash of the pictures that a training in the run's folder was begun with: no others replace them.

    Raises:
        FolderError: the folder cannot be used.
    """
    root = _real_folder(options.images)
    given = given_tokenizer(options.caption_tokenizer) if options.caption_tokenizer else None  # before any picture
    try:
        make_folder(run_folder)
        if os.path.realpath(run_folder) == root:
            raise FolderError(f"--out: expected another folder than that of the pictures, got {shown(str(run_folder))}")
        tell = Teller(say, shown(str(run_folder / FOLDER / LEFT_OUT)))
        reading = Reading(options, root, run_folder, console or Console(stderr=True), tell, begun_with)
        with _Lock(run_folder / LOCK, say):
            cache = _cache(reading, say)
            chosen = split(cache.hashes(), options.held_out_share)
            if len(chosen.training) < LEAST:
                raise FolderError(
                    f"--held-out-share: expected at least {LEAST} pictures to learn from, got {len(chosen.training)} "
                    f"of {cache.header.rows}; give a smaller one"
                )
            cache.list_held_out(chosen.held_out)
            prefix = caption_prefix(cache, chosen.training, options, given)
    except OSError as error:
        where = f"{shown(str(error.filename))}: " if error.filename else ""
        raise FolderError(f"{where}{error.strerror or error}") from None
    except sqlite3.Error as error:
        raise FolderError(f"{shown(str(run_folder / FOLDER))}: the catalogue cannot be written: {error}") from None
    report = _report(cache, chosen, prefix, options)
    for line in report.lines():
        say(line)
    return FolderExamples(cache, chosen, prefix, options, report)


def _report(cache: PictureCache, chosen: Split, prefix: CaptionPrefix, options: FolderOptions) -> FolderReport:
    header = cache.header
    return FolderReport(
        **header.counts,
        other_files=header.other_files,
        left_out=header.left_out,
        converted=header.converted,
        kept=header.rows,
        captions=header.captions,
        training=len(chosen.training),
        held_out=len(chosen.held_out),
        prefix_length=prefix.ids.length,
        vocabulary=prefix.ids.vocabulary,
        cut=prefix.cut,
        sided=prefix.sided if "flip" in options.augment else None,
    )


def _real_folder(folder: Path) -> str:
    """Return a folder's real path.

    Raises:
        FolderError: it is none.
    """
    if not folder.is_dir():
        what = "a file" if os.path.lexists(folder) else "nothing"
        raise FolderError(f"--images: expected a folder of pictures, found {what} at {shown(str(folder))}")
    return os.path.realpath(folder)


def _cache(reading: Reading, say: Callable[[str], None]) -> PictureCache:
    """Return the cache that is there, or make one."""
    fingerprint = reading.fingerprint()
    left_out = os.path.realpath(reading.run_folder)
    for entry in walk(reading.root, left_out):
        if isinstance(entry, Entry):
            fingerprint.add(entry)
    found = open_cache(reading.run_folder, fingerprint.hexdigest())
    if found is not None and (found.header.captions or not reading.options.need_captions):
        discard(found.folder)  # of a process that was killed at its very end
        say(
            f"cache: {found.header.rows} pictures of {found.header.side} x {found.header.side} pixels are there already"
        )
        return found
    return build_cache(reading, fingerprint.hexdigest())


class _Lock:
    """One process reads a folder for a run; others wait and find the cache."""

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self._lock, self._say = FileLock(path), say

    def __enter__(self) -> None:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            self._say("another process reads these pictures; waiting for it")
            self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
