"""Pictures for people: several images in one PNG."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mulo_sd.engines.files.whole_files import write_whole

TITLE_HEIGHT, TITLE_SIZE = 18, 13  # pixels
CUT = "..."


def save_grid(
    images: NDArray[np.uint8], columns: int, path: Path, magnify: int = 1, titles: Sequence[str] | None = None
) -> None:
    """Write UInt8[n, H, W, 3] as one PNG, `columns` images a row, each under its title where there are titles."""
    height, width = images.shape[1] * magnify, images.shape[2] * magnify
    above = 0 if titles is None else TITLE_HEIGHT
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * width, rows * (above + height)), "white")
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        place = (column * width, row * (above + height))
        picture = Image.fromarray(image).resize((width, height), Image.Resampling.NEAREST)
        sheet.paste(picture, (place[0], place[1] + above))
        if titles is not None:
            _write(sheet, titles[number], place, width)
    write_whole(path, sheet.save)


def _write(sheet: Image.Image, title: str, place: tuple[int, int], width: int) -> None:
    """Write a title, or as much of it as a picture is wide."""
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(TITLE_SIZE)
    # No letter is narrower than a pixel: of a long caption no more than a line's worth is measured.
    kept = min(len(title), width)
    shown = title if kept == len(title) else title[:kept] + CUT
    while kept and draw.textlength(shown, font) > width - 4:
        kept -= 1
        shown = title[:kept] + CUT
    draw.text((place[0] + 2, place[1] + 1), shown, "black", font)
