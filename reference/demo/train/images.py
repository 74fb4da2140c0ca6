"""Where training images come from: the demo's endless scenes, or a folder of pictures."""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mulo_sd.reference.demo.scenes import scene

SUFFIXES = (".png", ".jpg", ".jpeg")
MAX_FILES = 1_000_000
MAX_PIXELS = 2**26  # of one picture


class ImageSource(Protocol):
    """Numbered training images at any size; image `n` is the same in every run."""

    def pixels(self, index: int, side: int) -> NDArray[np.uint8]:
        """Return UInt8[side, side, 3], RGB."""


class SceneImages:
    """The demo's procedural scenes, training split."""

    def pixels(self, index: int, side: int) -> NDArray[np.uint8]:
        """Render a scene."""
        return scene(index).render(side)


class ImageFolderError(ValueError):
    """An image folder that cannot be used; its message is one line for the user."""


class ImageFolder:
    """The PNG and JPEG files of a folder, in the order of their names, again and again.

    Raises:
        ImageFolderError: no folder, no picture in it, or too many.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ImageFolderError(f"{folder}: expected a folder of PNG or JPEG files, found none")
        self.files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        if not 1 <= len(self.files) <= MAX_FILES:
            raise ImageFolderError(f"{folder}: expected 1 to {MAX_FILES} PNG or JPEG files, got {len(self.files)}")

    def pixels(self, index: int, side: int) -> NDArray[np.uint8]:
        """Return a picture's largest middle square, resized.

        Raises:
            ImageFolderError: a file is no picture, or too large.
        """
        path = self.files[index % len(self.files)]
        try:
            with Image.open(path) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise ImageFolderError(
                        f"{path}: expected at most {MAX_PIXELS} pixels, got {image.width} x {image.height}"
                    )
                short = min(image.size)
                left, top = (image.width - short) // 2, (image.height - short) // 2
                square = image.convert("RGB").crop((left, top, left + short, top + short))
                return np.asarray(square.resize((side, side), Image.Resampling.LANCZOS))
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError) as error:
            if isinstance(error, ImageFolderError):
                raise
            line = " ".join(str(error).split())[:120]
            raise ImageFolderError(f"{path}: expected a picture, got: {line or type(error).__name__}") from None
