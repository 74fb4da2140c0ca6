"""Fill a catalogue with a folder's files and captions."""

import posixpath
from collections.abc import Iterator
from pathlib import Path

from mulo_sd.engines.files.text_files import TextFileError, decoded, lines_of
from mulo_sd.reference.train.folder import problems
from mulo_sd.reference.train.folder.caption_lines import MAX_CAPTIONS, CaptionLine, UnusableLine, caption_lines, tidy
from mulo_sd.reference.train.folder.catalogue import Catalogue
from mulo_sd.reference.train.folder.fingerprint import Fingerprint
from mulo_sd.reference.train.folder.listing import walk
from mulo_sd.reference.train.folder.names import inside, shown
from mulo_sd.reference.train.folder.options import FolderError
from mulo_sd.reference.train.folder.picture import PictureError, opened
from mulo_sd.reference.train.folder.problems import Problem
from mulo_sd.reference.train.folder.report import count_suffix
from mulo_sd.reference.train.folder.telling import Teller

MAX_TEXT_BYTES = 2**16  # of a text file beside a picture
MAX_UNUSABLE = 100  # lines at the beginning of a caption file, after which nothing is hoped for
EXPECTED_LINES = "expected lines with the names and captions of pictures"


def add_files(
    catalogue: Catalogue, root: str, left_out: str, fingerprint: Fingerprint, captions: Path | None, tell: Teller
) -> tuple[dict[str, int], list[str]]:
    """Add the pictures and texts of a folder; return its other files by suffix, and its metadata files.

    Args:
        catalogue: An empty one.
        root: The folder's real path.
        left_out: A folder that is passed over.
        fingerprint: Counts every file.
        captions: A caption file that stands for all others, if there is one.
        tell: Takes what is left out.
    """
    others: dict[str, int] = {}
    metadata: list[str] = []
    for found in walk(root, left_out):
        if isinstance(found, Problem):
            _leave_out(catalogue, found, tell)
            continue
        fingerprint.add(found)
        if found.kind == "other":
            if captions is None or posixpath.basename(found.name) != captions.name:
                count_suffix(others, found.name)
        elif found.kind == "metadata":
            metadata.append(found.name)
        elif found.kind == "picture" or captions is None:
            catalogue.add_file(found.name, found.kind == "text")
    return others, sorted(metadata)


def _leave_out(catalogue: Catalogue, problem: Problem, tell: Teller) -> None:
    catalogue.add_problem(problem)
    tell.problem(problem)


def add_caption_file(catalogue: Catalogue, root: str, path: Path, base: str, tell: Teller) -> None:
    """Add the captions of a JSONL or CSV file.

    Args:
        catalogue: Of the folder.
        root: The folder's real path.
        path: Of the file.
        base: The folder that its names begin at, relative to `root`.
        tell: Takes the lines that cannot be used.

    Raises:
        FolderError: no line of it can be used.
    """
    early: list[Problem] = []  # before the first line that can be used
    is_used = False
    for line in caption_lines(path):
        problem = _add_line(catalogue, root, f"{path}: line {line.number}", base, line)
        if problem is None and not is_used:
            is_used = True
            for told in early:
                _leave_out(catalogue, told, tell)
        elif problem is not None and is_used:
            _leave_out(catalogue, problem, tell)
        elif problem is not None:
            early.append(problem)
            if len(early) == MAX_UNUSABLE:
                break
    if not is_used:
        first = f"{early[0].name}: {early[0].why}" if early else f"{path}: {EXPECTED_LINES}, got none"
        raise FolderError(shown(first))


def _add_line(
    catalogue: Catalogue, root: str, where: str, base: str, line: CaptionLine | UnusableLine
) -> Problem | None:
    """Add what a line says, or return why it cannot be used."""
    if isinstance(line, UnusableLine):
        return Problem(problems.CAPTION_LINE, where, line.why)
    name = inside(root, base, line.name)
    if name is None:
        why = f"expected a path inside {root}, got {line.name[:80]!r}"
        return Problem(problems.CAPTION_OUTSIDE, where, why)
    try:
        catalogue.add_captions(name, line.captions)
    except UnicodeEncodeError:
        return Problem(problems.CAPTION_LINE, where, "expected the name of a file, got half a character")
    return None


def add_texts(catalogue: Catalogue, root: str, tell: Teller) -> None:
    """Add the text files beside pictures: every line that is not empty is a caption."""
    last, captions = "", []
    for text, picture in catalogue.texts():
        if text != last:
            last = text
            captions = list(_text_captions(catalogue, root, text, tell))
        catalogue.add_captions(picture, captions)


def _text_captions(catalogue: Catalogue, root: str, name: str, tell: Teller) -> Iterator[str]:
    try:
        with opened(root, name, MAX_TEXT_BYTES) as file:
            lines = lines_of(decoded(file.read(MAX_TEXT_BYTES), name))
    except (PictureError, TextFileError, OSError) as error:
        why = str(error).removeprefix(f"{name}: ")
        _leave_out(catalogue, Problem(problems.CAPTION_TEXT, name, why), tell)
        return
    yield from list(filter(None, map(tidy, lines)))[:MAX_CAPTIONS]


def add_captions(catalogue: Catalogue, root: str, captions: Path | None, metadata: list[str], tell: Teller) -> None:
    """Add all captions: those of the file that is named, or else of metadata files and of texts beside pictures.

    Raises:
        FolderError: a caption file cannot be used.
    """
    if captions is not None:
        add_caption_file(catalogue, root, captions, "", tell)
        return
    for name in metadata:
        add_caption_file(catalogue, root, Path(root, name), posixpath.dirname(name), tell)
    add_texts(catalogue, root, tell)
