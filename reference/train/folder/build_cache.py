"""Read a folder into a cache: list, caption, decode. What a kill leaves is no cache, and is gone on with."""

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from mulo_sd.engines.commands.run_progress import shown_progress
from mulo_sd.reference.train.folder import cache
from mulo_sd.reference.train.folder.array_file import ArrayFile
from mulo_sd.reference.train.folder.cache import PictureCache
from mulo_sd.reference.train.folder.caption_lines import NAME_FIELDS, TEXT_FIELDS
from mulo_sd.reference.train.folder.catalogue import NAME, Catalogue, discard
from mulo_sd.reference.train.folder.fill import add_captions, add_files
from mulo_sd.reference.train.folder.fingerprint import Fingerprint
from mulo_sd.reference.train.folder.finish_cache import write_files
from mulo_sd.reference.train.folder.listing import SUFFIXES
from mulo_sd.reference.train.folder.names import shown
from mulo_sd.reference.train.folder.options import FolderError, FolderOptions, ground_colour
from mulo_sd.reference.train.folder.picture import PictureError, ReadOptions
from mulo_sd.reference.train.folder.problems import Problem
from mulo_sd.reference.train.folder.readers import Readers
from mulo_sd.reference.train.folder.split import FEWEST_PICTURES
from mulo_sd.reference.train.folder.telling import Teller

PARTIAL = f"{cache.FOLDER}.partial"
RECORD_BYTES = 600  # of a picture's line, offset, hash and place in the catalogue, its captions aside
BATCH, SECONDS = 256, 5.0  # pictures or time between two moments from which a killed reading goes on
READY = "ready"  # the fact that is noted when all files and captions are in the catalogue


@dataclass(frozen=True)
class Reading:
    """What is read, and where to.

    Attributes:
        options: The user's.
        root: The folder's real path.
        run_folder: The run's; what lies in it is no picture of the user's.
        console: Where progress is shown.
        tell: Takes what is left out.
        begun_with: Hash of the pictures that a training was begun with, which no others replace; None where none was.
    """

    options: FolderOptions
    root: str
    run_folder: Path
    console: Console
    tell: Teller
    begun_with: str | None = None

    @property
    def partial(self) -> Path:
        return self.run_folder / PARTIAL

    def fingerprint(self) -> Fingerprint:
        """Return the hash of what is asked for; no file is counted in yet.

        Raises:
            FolderError: the caption file is not there.
        """
        options, named = self.options, None
        if options.captions is not None:
            try:
                status = options.captions.stat()
            except OSError as error:
                raise FolderError(f"--captions: cannot read {shown(str(options.captions))}: {error.strerror}") from None
            named = (os.path.realpath(options.captions), status.st_size, status.st_mtime_ns)
        limits = (options.max_pixels, options.max_file_bytes, options.smallest_side)
        return Fingerprint(cache.VERSION, options.cached_side, ground_colour(options.ground), limits, named)


def build_cache(reading: Reading, fingerprint: str) -> PictureCache:
    """Read a folder into its cache.

    Args:
        reading: What, and where to.
        fingerprint: Of the folder as it is; what a killed reading noted of another one is not gone on with.

    Raises:
        FolderError: no captions, too few pictures, too little room, or something else lies where the cache should.
        OSError, sqlite3.Error: the system refuses to read or write.
    """
    try:
        return _built(reading, fingerprint)
    except FolderError:  # nothing to go on with: what is in the folder has to change first
        cache.remove(reading.partial)
        raise


def _built(reading: Reading, fingerprint: str) -> PictureCache:
    """Do what `build_cache` does, and leave what was read where the folder cannot be used."""
    if not _can_go_on(reading.partial, fingerprint):
        cache.remove(reading.partial)
        reading.partial.mkdir()
        with Catalogue(reading.partial) as catalogue:
            _list(reading, catalogue)
    with Catalogue(reading.partial) as catalogue:
        _check_candidates(reading, catalogue)
        final = reading.run_folder / cache.FOLDER
        if reading.begun_with is None:
            cache.remove(final)  # of other pictures: its room may be needed
        _check_room(reading, catalogue)
        _decode(reading, catalogue)
        if catalogue.kept < FEWEST_PICTURES:
            raise FolderError(
                f"{reading.options.images}: expected at least {FEWEST_PICTURES} different pictures that can be used, "
                f"got {catalogue.kept}"
            )
        header = write_files(reading.partial, catalogue, reading.options.cached_side)
    if reading.begun_with is not None:
        if PictureCache(reading.partial, header).content_hash() != reading.begun_with:
            raise FolderError(
                f"{shown(str(reading.options.images))}: expected the pictures and captions with which "
                f"{reading.run_folder} was begun, found others; change them back, or give another --out"
            )
        cache.remove(final)
    reading.partial.rename(final)
    discard(final)  # only now: a kill before it would lose what was read
    made = PictureCache(final, header)
    made.check()
    return made


def _can_go_on(partial: Path, fingerprint: str) -> bool:
    if not (partial / NAME).is_file():
        return False
    try:
        with Catalogue(partial) as catalogue:
            fact, counts = catalogue.fact(READY), catalogue.fact("counts") or {}
    except Exception:  # whatever is wrong with it, it is as good as none
        return False
    # Without candidates there was nothing to read where captions were needed; they may not be now.
    return fact is not None and fact["fingerprint"] == fingerprint and bool(counts.get("candidates"))


def _list(reading: Reading, catalogue: Catalogue) -> None:
    """Fill an empty catalogue, and note that it is full."""
    options, fingerprint = reading.options, reading.fingerprint()
    left_out = os.path.realpath(reading.run_folder)
    others, metadata = add_files(catalogue, reading.root, left_out, fingerprint, options.captions, reading.tell)
    add_captions(catalogue, reading.root, options.captions, metadata, reading.tell)
    counts = catalogue.choose_candidates(options.need_captions or options.captions is not None)
    catalogue.note("counts", dict(counts))
    catalogue.note("other_files", dict(others))
    catalogue.note(READY, {"fingerprint": fingerprint.hexdigest()})
    catalogue.commit()


def _check_candidates(reading: Reading, catalogue: Catalogue) -> None:
    """Check what can be known before a picture is opened.

    Raises:
        FolderError: there are no captions, or too few pictures.
    """
    options, folder = reading.options, shown(str(reading.options.images))
    counts = {name: int(value) for name, value in (catalogue.fact("counts") or {}).items()}
    if not counts["pictures"]:
        raise FolderError(f"{folder}: expected pictures ({' '.join(SUFFIXES)}), found none")
    captioned = counts["pictures"] - counts["without_caption"]
    if not counts["candidates"] or (options.need_captions and not captioned):
        fields = f'"{NAME_FIELDS[0]}" and "{TEXT_FIELDS[0]}"'
        wrong = ""
        if counts["captions_of_no_picture"]:
            wrong = (
                f"; the captions that were read name others, such as {shown(catalogue.first_caption_of_no_picture())}"
            )
        raise FolderError(
            f"{folder}: expected captions of its {counts['pictures']} pictures, found none: a text file beside each "
            f"(cat.png, cat.txt), metadata.jsonl or metadata.csv in the folder, or --captions FILE, JSONL or CSV with "
            f"{fields}{wrong}"
        )
    if counts["without_caption"] and captioned:
        first = shown(catalogue.first_without_caption())
        reading.tell.say(f"left out: {counts['without_caption']} without a caption, the first is {first}")
    if counts["candidates"] < FEWEST_PICTURES:
        raise FolderError(
            f"{folder}: expected at least {FEWEST_PICTURES} pictures with captions, got {counts['candidates']}"
        )


def _check_room(reading: Reading, catalogue: Catalogue) -> None:
    """Say how much room the cache takes.

    Raises:
        FolderError: the disk has less.
    """
    side, count = reading.options.cached_side, int((catalogue.fact("counts") or {})["candidates"])
    needed = needed_bytes(count, side, catalogue.caption_bytes())
    there = sum(path.stat().st_size for path in reading.partial.iterdir())
    what = f"{count} pictures of {side} x {side} pixels take up to {_size(needed)}"
    free = check_room(reading.run_folder, needed, there, what)
    reading.tell.say(f"cache: {what} in {shown(str(reading.run_folder / cache.FOLDER))}; {_size(free)} are free")


def needed_bytes(count: int, side: int, caption_bytes: int) -> int:
    """Return how many bytes the cache of a folder takes at most while it is made."""
    return count * (side * side * 3 + RECORD_BYTES) + 3 * caption_bytes


def check_room(folder: Path, needed: int, there: int, what: str) -> int:
    """Return how many bytes a disk has free.

    Args:
        folder: On the disk.
        needed: Bytes.
        there: Of these, how many are written already.
        what: Takes them, for the message.

    Raises:
        FolderError: there is too little room.
    """
    free = shutil.disk_usage(folder).free
    if needed - there > free:
        raise FolderError(
            f"{shown(str(folder))}: {what} on the disk, where {_size(free)} are free; make room, or give another "
            "--out or smaller --pixels"
        )
    return free


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _decode(reading: Reading, catalogue: Catalogue) -> None:
    """Decode every candidate once, in their order."""
    options = reading.options
    read_options = ReadOptions(
        root=reading.root,
        side=options.cached_side,
        ground=ground_colour(options.ground),
        max_pixels=options.max_pixels,
        max_file_bytes=options.max_file_bytes,
        smallest_side=options.smallest_side,
    )
    total, done = int((catalogue.fact("counts") or {})["candidates"]), catalogue.read
    if done:
        reading.tell.say(f"going on with picture {done + 1} of {total}")
    path, saved = reading.partial / cache.PICTURES, time.monotonic()
    with (
        ArrayFile(path, options.cached_side, catalogue.kept) as array,
        Readers(read_options, options.readers) as readers,
        shown_progress(reading.console, total) as progress,
    ):
        for name, square in readers.squares(catalogue.unread()):
            done += 1
            if isinstance(square, PictureError):
                problem = Problem(square.kind, name, str(square))
                catalogue.refuse(done, problem)
                reading.tell.problem(problem)
            else:
                catalogue.note_conversions(square.conversions)
                if catalogue.keep(done, name, square.hash, square.width, square.height):
                    array.append(square.pixels)
            if done % BATCH == 0 or time.monotonic() - saved > SECONDS:
                # In this order: a picture that is noted is on the disk.
                array.sync()
                catalogue.commit()
                saved = time.monotonic()
            progress(done)
        array.finish()
        catalogue.commit()
