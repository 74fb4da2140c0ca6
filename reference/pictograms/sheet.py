"""The shipped sheet of pictograms: their names, groups and pictures."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SHEET_FOLDER = Path(__file__).parent / "sheet"
SIDE = 80  # pixels of a pictogram in the sheet
COLUMNS = 20
MARGIN = 2  # clear pixels around a pictogram in its box


@dataclass(frozen=True)
class Pictogram:
    """One drawing of the sheet."""

    index: int
    name: str
    group: str


@cache
def pictograms() -> tuple[Pictogram, ...]:
    """Return all pictograms, in the order of the sheet."""
    listed = json.loads((SHEET_FOLDER / "pictograms.json").read_text(encoding="utf-8"))
    return tuple(Pictogram(index, item["name"], item["group"]) for index, item in enumerate(listed))


@cache
def sprites(side: int) -> NDArray[np.float32]:
    """Return all pictograms in boxes of a size, Float32[n, side, side, 4]: RGB times alpha in 0..255, alpha in 0..1."""
    with Image.open(SHEET_FOLDER / "pictograms.webp") as file:
        sheet = file.convert("RGBa")
    drawn, inner = [], side - 2 * MARGIN
    margins = ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0))
    for index in range(len(pictograms())):
        left, top = index % COLUMNS * SIDE, index // COLUMNS * SIDE
        one = sheet.crop((left, top, left + SIDE, top + SIDE))
        drawn.append(np.pad(np.asarray(one.resize((inner, inner), Image.Resampling.LANCZOS)), margins))
    pixels = np.stack(drawn).astype(np.float32)
    pixels[..., 3] /= 255
    return pixels
