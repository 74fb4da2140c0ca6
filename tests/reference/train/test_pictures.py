"""Sheets of pictures: where each picture and each title stands."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mulo_sd.reference.train.pictures import TITLE_HEIGHT, save_grid

COLOURS = np.array([[200, 0, 0], [0, 200, 0], [0, 0, 200]], np.uint8)


def grid(path: Path, titles: list[str] | None = None) -> np.ndarray:
    """Return a sheet of three flat pictures of 4 x 40 pixels, magnified twice, two a row."""
    images = np.broadcast_to(COLOURS[:, None, None], (3, 4, 40, 3)).copy()
    save_grid(images, 2, path / "sheet.png", 2, titles)
    with Image.open(path / "sheet.png") as sheet:
        return np.asarray(sheet)


def test_pictures_stand_in_rows(tmp_path: Path) -> None:
    sheet = grid(tmp_path)
    assert sheet.shape == (16, 160, 3)
    expected = [(0, 0, COLOURS[0]), (0, 80, COLOURS[1]), (8, 0, COLOURS[2]), (8, 80, [255, 255, 255])]
    for row, column, colour in expected:
        assert (sheet[row : row + 8, column : column + 80] == colour).all()


@pytest.mark.parametrize("title", ["cat", "a very long title that no picture of this width holds", "\u732b", ""])
def test_a_title_stands_above_its_own_picture(title: str, tmp_path: Path) -> None:
    sheet = grid(tmp_path, ["", title, ""])
    assert sheet.shape == (2 * (8 + TITLE_HEIGHT), 160, 3)
    strip = sheet[:TITLE_HEIGHT]
    assert (strip[:, :80] == 255).all()
    assert (strip[:, 80:] < 128).any() == bool(title)
    assert (sheet[TITLE_HEIGHT : TITLE_HEIGHT + 8, 80:] == COLOURS[1]).all()
