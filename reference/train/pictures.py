"""Pictures for people: several images in one PNG."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mulo_sd.engines.files.whole_files import write_whole


def save_grid(images: NDArray[np.uint8], columns: int, path: Path, magnify: int = 1) -> None:
    """Write UInt8[n, H, W, 3] as one PNG, `columns` images a row."""
    padding = -len(images) % columns
    images = np.concatenate([images, np.full((padding, *images.shape[1:]), 255, np.uint8)])
    rows = [np.concatenate(list(images[start : start + columns]), axis=1) for start in range(0, len(images), columns)]
    picture = Image.fromarray(np.concatenate(rows))
    if magnify > 1:
        picture = picture.resize((picture.width * magnify, picture.height * magnify), Image.Resampling.NEAREST)
    write_whole(path, picture.save)
