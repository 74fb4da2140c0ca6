"""Write what a catalogue knows into the files that training reads."""

import json
import os
from pathlib import Path

import numpy as np

from mulo_sd.reference.train.folder import cache
from mulo_sd.reference.train.folder.cache import Header
from mulo_sd.reference.train.folder.catalogue import Catalogue
from mulo_sd.reference.train.folder.picture import HASH_BYTES


def write_files(folder: Path, catalogue: Catalogue, side: int) -> Header:
    """Write the files of a cache beside its pictures, the header last.

    Args:
        folder: Where the pictures lie.
        catalogue: Of all of them, read to the end.
        side: Pixels a side.
    """
    rows = catalogue.kept
    offsets, hashes = np.zeros(rows + 1, np.int64), np.zeros((rows, HASH_BYTES), np.uint8)
    captions = 0
    with (folder / cache.LINES).open("wb") as lines:
        for kept in catalogue.pictures():
            record = {"name": kept.name, "width": kept.width, "height": kept.height, "captions": kept.captions}
            lines.write(json.dumps(record).encode("ascii") + b"\n")
            offsets[kept.row + 1] = lines.tell()
            hashes[kept.row] = np.frombuffer(kept.hash, np.uint8)
            captions += len(kept.captions)
    np.save(folder / cache.OFFSETS, offsets)
    np.save(folder / cache.HASHES, hashes)
    with (folder / cache.LEFT_OUT).open("wb") as file:
        for problem in catalogue.problems():
            file.write(json.dumps(problem._asdict()).encode("ascii") + b"\n")
    header = _header(catalogue, side, captions)
    text = json.dumps({"version": cache.VERSION} | header.__dict__, indent=1)
    (folder / cache.HEADER).write_text(text + "\n", encoding="utf-8")
    for path in folder.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    return header


def _header(catalogue: Catalogue, side: int, captions: int) -> Header:
    noted = {name: int(value) for name, value in (catalogue.fact("counts") or {}).items()}
    counts = {name: noted[name] for name in ("pictures", "without_caption", "captions_of_no_picture")}
    others = {name: int(value) for name, value in (catalogue.fact("other_files") or {}).items()}
    return Header(
        fingerprint=str((catalogue.fact("ready") or {})["fingerprint"]),
        side=side,
        rows=catalogue.kept,
        captions=captions,
        counts=counts | {"copies": catalogue.copies(), "enlarged": catalogue.enlarged(side)},
        other_files=others,
        left_out=catalogue.problem_counts(),
        converted=catalogue.conversion_counts(),
    )
