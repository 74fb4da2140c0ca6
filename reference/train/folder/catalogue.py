"""What is known of a folder while it is read: a SQLite file.

So neither a million names nor their captions lie in memory, and a killed reading goes on where it was.
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import NamedTuple

from mulo_sd.reference.train.folder.caption_lines import MAX_CAPTIONS
from mulo_sd.reference.train.folder.names import key_of
from mulo_sd.reference.train.folder.problems import Problem

NAME = "reading.sqlite"
# It, and what SQLite keeps beside it.
FILES = (NAME, f"{NAME}-journal", f"{NAME}-wal", f"{NAME}-shm")
CACHE_KIB = 32 * 1024  # pages that SQLite keeps in memory
PAGE = 1000  # candidates that are fetched at a time

# Names are bytes: those of files need not be text. A key is what two spellings of a name have in common.
TABLES = """
CREATE TABLE fact(name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE file(name BLOB PRIMARY KEY, key BLOB NOT NULL, stem BLOB NOT NULL, is_text INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE caption(number INTEGER PRIMARY KEY, key BLOB NOT NULL, text TEXT NOT NULL);
CREATE TABLE candidate(place INTEGER PRIMARY KEY, name BLOB NOT NULL, key BLOB NOT NULL);
CREATE TABLE outcome(place INTEGER PRIMARY KEY, row INTEGER);
CREATE TABLE conversion(kind TEXT NOT NULL);
CREATE TABLE picture(row INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, width INTEGER, height INTEGER, name BLOB);
CREATE TABLE problem(number INTEGER PRIMARY KEY, kind TEXT NOT NULL, name BLOB NOT NULL, why TEXT NOT NULL);
"""
# Made when the tables are full.
INDICES = """
CREATE INDEX file_key ON file(key) WHERE is_text = 0;
CREATE INDEX caption_key ON caption(key);
CREATE INDEX outcome_row ON outcome(row);
"""


class Kept(NamedTuple):
    """A picture of the cache: its row, its file, its size in pixels, its hash and its captions."""

    row: int
    name: str
    width: int
    height: int
    hash: bytes
    captions: tuple[str, ...]


class Catalogue:
    """The file `reading.sqlite` of a folder that belongs to one process at a time."""

    def __init__(self, folder: Path) -> None:
        """Open the file, or begin one.

        Raises:
            sqlite3.DatabaseError: it is something else.
        """
        self._rows = sqlite3.connect(folder / NAME)
        self._rows.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        if not self._value("SELECT count(*) FROM sqlite_master"):
            self._rows.executescript(TABLES)

    def __enter__(self) -> "Catalogue":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rows.close()  # what was not committed is lost

    def _value(self, query: str, *values: object) -> int:
        row = self._rows.execute(query, values).fetchone()
        return int(row[0] or 0)

    def commit(self) -> None:
        self._rows.commit()

    def fact(self, name: str) -> dict[str, int | str] | None:
        """Return what was noted under a name."""
        row = self._rows.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return dict(json.loads(row[0])) if row else None

    def note(self, name: str, value: dict[str, int | str]) -> None:
        self._rows.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, json.dumps(value)))

    def add_file(self, name: str, is_text: bool) -> None:
        stem = os.fsencode(str(PurePosixPath(name).with_suffix("")))
        self._rows.execute("INSERT INTO file VALUES (?, ?, ?, ?)", (os.fsencode(name), key_of(name), stem, is_text))

    def add_captions(self, name: str, captions: Iterable[str]) -> None:
        """Add captions of a file.

        Raises:
            UnicodeEncodeError: no file can have this name.
        """
        key = key_of(name)
        self._rows.executemany("INSERT INTO caption(key, text) VALUES (?, ?)", [(key, text) for text in captions])

    def add_problem(self, problem: Problem) -> None:
        self._rows.execute(
            "INSERT INTO problem(kind, name, why) VALUES (?, ?, ?)",
            (problem.kind, problem.name.encode("utf-8", "surrogatepass"), problem.why),
        )

    def texts(self) -> Iterator[tuple[str, str]]:
        """Yield the text files that lie beside pictures, each with a picture of its name."""
        query = (
            "SELECT text.name, picture.name FROM file AS text JOIN file AS picture ON picture.stem = text.stem "
            "WHERE text.is_text = 1 AND picture.is_text = 0 ORDER BY text.name, picture.name"
        )
        self._rows.execute("CREATE INDEX IF NOT EXISTS file_stem ON file(stem) WHERE is_text = 0")
        # Another cursor than the one that adds captions meanwhile; both are of one connection.
        for text, picture in self._rows.execute(query):
            yield os.fsdecode(text), os.fsdecode(picture)

    def choose_candidates(self, need_captions: bool) -> dict[str, int]:
        """Number the pictures that are to be read, in the order of their names' bytes; return counts for the report.

        Args:
            need_captions: Leave out pictures without; else only where others have some, so that all models of a
                folder learn from the same pictures.
        """
        self._rows.executescript(INDICES)
        captioned = "EXISTS (SELECT 1 FROM caption WHERE caption.key = file.key)"
        captions = self._value(f"SELECT count(*) FROM file WHERE is_text = 0 AND {captioned}")
        unknown = "NOT EXISTS (SELECT 1 FROM file WHERE file.key = caption.key AND is_text = 0)"
        self._rows.execute(
            f"INSERT INTO candidate(name, key) SELECT name, key FROM file WHERE is_text = 0 AND ({captioned} OR ?) "
            "ORDER BY name",
            (not need_captions and not captions,),
        )
        return {
            "pictures": self._value("SELECT count(*) FROM file WHERE is_text = 0"),
            "without_caption": self._value("SELECT count(*) FROM file WHERE is_text = 0") - captions,
            "captions_of_no_picture": self._value(f"SELECT count(*) FROM caption WHERE {unknown}"),
            "candidates": self._value("SELECT count(*) FROM candidate"),
        }

    def caption_bytes(self) -> int:
        """Return the size of all captions, in characters."""
        return self._value("SELECT sum(length(text)) FROM caption")

    def first_without_caption(self) -> str:
        """Return the first picture without a caption; there must be one."""
        query = "SELECT name FROM file WHERE is_text = 0 AND key NOT IN (SELECT key FROM caption) ORDER BY name LIMIT 1"
        return os.fsdecode(self._rows.execute(query).fetchone()[0])

    def first_caption_of_no_picture(self) -> str:
        """Return the first name in a caption file that is no picture's; there must be one."""
        query = (
            "SELECT key FROM caption WHERE key NOT IN (SELECT key FROM file WHERE is_text = 0) ORDER BY number LIMIT 1"
        )
        return os.fsdecode(self._rows.execute(query).fetchone()[0])

    @property
    def read(self) -> int:
        """How many candidates have been read: they are read in their order."""
        return self._value("SELECT max(place) FROM outcome")

    @property
    def kept(self) -> int:
        """How many different pictures there are so far."""
        return self._value("SELECT max(row) + 1 FROM picture")

    def unread(self) -> Iterator[str]:
        """Yield the candidates that are still to be read, in their order."""
        place = self.read
        query = "SELECT place, name FROM candidate WHERE place > ? ORDER BY place LIMIT ?"
        while page := self._rows.execute(query, (place, PAGE)).fetchall():
            for place, name in page:  # noqa: B007  (the next page begins behind the last)
                yield os.fsdecode(name)

    def keep(self, place: int, name: str, content: bytes, width: int, height: int) -> bool:
        """Note that a picture was read; return whether it is a new one, and not a copy of one that is there."""
        found = self._rows.execute("SELECT row FROM picture WHERE hash = ?", (content,)).fetchone()
        row = int(found[0]) if found else self.kept
        if not found:
            values = (row, content, width, height, os.fsencode(name))
            self._rows.execute("INSERT INTO picture VALUES (?, ?, ?, ?, ?)", values)
        self._rows.execute("INSERT INTO outcome VALUES (?, ?)", (place, row))
        return not found

    def note_conversions(self, kinds: Iterable[str]) -> None:
        """Note what was done to a picture that was read."""
        self._rows.executemany("INSERT INTO conversion VALUES (?)", [(kind,) for kind in kinds])

    def refuse(self, place: int, problem: Problem) -> None:
        """Note that a candidate cannot be used."""
        self._rows.execute("INSERT INTO outcome VALUES (?, NULL)", (place,))
        self.add_problem(problem)

    def problems(self) -> Iterator[Problem]:
        """Yield all problems, in the order in which they were found."""
        for kind, name, why in self._rows.execute("SELECT kind, name, why FROM problem ORDER BY number"):
            yield Problem(kind, name.decode("utf-8", "surrogatepass"), why)

    def problem_counts(self) -> dict[str, int]:
        """Return how many problems there are of each kind."""
        return self._counts("problem")

    def conversion_counts(self) -> dict[str, int]:
        """Return to how many pictures each kind of thing was done."""
        return self._counts("conversion")

    def _counts(self, table: str) -> dict[str, int]:
        query = f"SELECT kind, count(*) FROM {table} GROUP BY kind ORDER BY count(*) DESC, kind"
        return {str(kind): int(count) for kind, count in self._rows.execute(query)}

    def copies(self) -> int:
        """Return how many of the pictures that were read are copies of others."""
        return self._value("SELECT count(row) FROM outcome") - self.kept

    def enlarged(self, side: int) -> int:
        """Return how many pictures are smaller than the side at which they are kept."""
        return self._value("SELECT count(*) FROM picture WHERE min(width, height) < ?", side)

    def pictures(self) -> Iterator[Kept]:
        """Yield the different pictures in the order of their rows, each with its captions and those of its copies."""
        query = (
            "SELECT caption.text FROM outcome JOIN candidate USING (place) JOIN caption USING (key) "
            "WHERE outcome.row = ? ORDER BY outcome.place, caption.number"
        )
        for row, content, width, height, name in self._rows.execute("SELECT * FROM picture ORDER BY row"):
            texts: dict[str, None] = {}
            for (text,) in self._rows.execute(query, (row,)):
                texts[text] = None
                if len(texts) == MAX_CAPTIONS:
                    break
            yield Kept(row, os.fsdecode(name), width, height, content, tuple(texts))


def discard(folder: Path) -> None:
    """Remove its files."""
    for name in FILES:
        with suppress(FileNotFoundError):
            (folder / name).unlink()
