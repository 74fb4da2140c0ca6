"""Memory does not grow with the folder."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.reference.train.folder.made import Opened

CAPTION = "a caption that is as long as some people's are, and longer than most of them; " * 10


def peak(folder: Path, run: Path) -> float:
    """Return the most MB that Python held while it opened a folder and looked at views of it."""
    tracemalloc.start()
    try:
        opened = Opened(folder, run, size=64)
        for index in range(200):
            opened.examples.training(index).render(16)
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def add_many(folder: Path, count: int) -> None:
    """Write pictures of a pixel each, and a caption file."""
    folder.mkdir()
    with (folder / "metadata.jsonl").open("w") as captions:
        for number in range(count):
            colour = (number % 256, number // 256, 0)
            Image.new("RGB", (16, 16), colour).save(folder / f"{number}.bmp")
            captions.write(f'{{"file_name": "{number}.bmp", "text": "{CAPTION}"}}\n')


@pytest.mark.timeout(300)
def test_memory_is_bounded(tmp_path: Path) -> None:
    """4,000 pictures of 12 kB and captions of 800 bytes, 52 MB, take hardly more than 400 do."""
    for count in (400, 4000):
        add_many(tmp_path / str(count), count)
    peak(tmp_path / "400", tmp_path / "first")  # loads what is loaded once
    small, large = (peak(tmp_path / str(count), tmp_path / f"run {count}") for count in (400, 4000))
    # Offsets, hashes and rows are 40 bytes a picture.
    if large - small >= 1.0:
        # Python's table of all interned strings, where the parts of paths are, doubles now and then: by 4 MB and more
        # in a process that ran many tests, but never twice in a row.
        large = peak(tmp_path / "4000", tmp_path / "run 4000 again")
    assert large - small < 1.0
    assert len(np.load(tmp_path / "run 4000" / "picture_cache" / "pictures.npy", mmap_mode="r")) == 4000
