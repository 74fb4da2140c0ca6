"""Folders of pictures for the tests of the folder reader."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mulo_sd.reference.train.folder.examples import FolderExamples
from mulo_sd.reference.train.folder.open_folder import open_folder
from mulo_sd.reference.train.folder.options import FolderOptions
from mulo_sd.reference.train.folder.picture import ReadOptions


def noise(number: int, width: int = 48, height: int = 40) -> NDArray[np.uint8]:
    """Return a picture that no other number has, UInt8[height, width, 3]."""
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)


def add_pictures(folder: Path, count: int, first: int = 0, captions: bool = True) -> None:
    """Write different pictures, each with a text beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        Image.fromarray(noise(number)).save(folder / f"{number:04}.png", compress_level=1)
        if captions:
            (folder / f"{number:04}.txt").write_text(f"picture number {number}\n")


def write_jsonl(path: Path, *rows: object) -> Path:
    """Write a line for each row: a text as it is, all else as JSON."""
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return path


def read_options(root: Path, side: int = 32, **other: object) -> ReadOptions:
    """Return how single files are read."""
    given: dict[str, object] = {
        "ground": (255, 255, 255),
        "max_pixels": 2**20,
        "max_file_bytes": 2**20,
        "smallest_side": 1,
    }
    return ReadOptions(root=str(root.resolve()), side=side, **(given | other))  # type: ignore[arg-type]


class Opened:
    """A folder that was opened, and what was said of it."""

    def __init__(self, images: Path, run: Path, **options: object) -> None:
        self.said: list[str] = []
        given: dict[str, object] = {"size": 32, "readers": 1} | options
        self.examples: FolderExamples = open_folder(FolderOptions(images, **given), run, self.said.append)  # type: ignore[arg-type]
        self.report = self.examples.report

    def captions(self) -> dict[str, tuple[str, ...]]:
        """Return the captions by the names of their pictures."""
        lines = (self.examples.cache.folder / "pictures.jsonl").read_text().splitlines()
        found = {record["name"]: tuple(record["captions"]) for record in map(json.loads, lines)}
        rows = range(self.examples.cache.header.rows)
        assert list(found.values()) == [self.examples.cache.captions(row) for row in rows]
        return found
