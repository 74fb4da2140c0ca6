"""One file: a square picture of a given side, or why there is none."""

import json
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mulo_sd.reference.train.folder import problems
from mulo_sd.reference.train.folder.colours import UnknownPixelsError, flattened, plain
from mulo_sd.reference.train.folder.names import is_inside

# What was done to a picture that is used, as the last line counts it.
FROM_CMYK, FLATTENED, TURNED = "from CMYK", "laid over the ground", "turned as EXIF says"
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "TIFF", "GIF")
EXPECTED = "expected PNG, JPEG, WebP, BMP, TIFF or GIF"
# A JPEG is decoded at half, a quarter or an eighth where that leaves this much: the largest side that is kept is 640.
# The same for every side, so that a picture's hash does not depend on it.
ENOUGH_PIXELS = 1024
HASHED_SIDE, HASH_BYTES = 64, 16
ORIENTATION = 0x0112  # EXIF's tag
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class ReadOptions:
    """How files are read; the attributes are those of `FolderOptions`, `root` is the folder's real path."""

    root: str
    side: int
    ground: tuple[int, int, int]
    max_pixels: int
    max_file_bytes: int
    smallest_side: int

    def as_line(self) -> str:
        """Return them as a line, for a process that reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_line(cls, line: str) -> Self:
        """Return what `as_line` made a line of; JSON knows no tuples, and Pillow takes no list for a colour."""
        content = json.loads(line)
        return cls(**content | {"ground": tuple(content["ground"])})


@dataclass(frozen=True)
class Square:
    """A picture's middle square, UInt8[side, side, 3], its whole size, a hash of what is to be seen, what was done."""

    pixels: NDArray[np.uint8]
    width: int
    height: int
    hash: bytes
    conversions: tuple[str, ...]


class PictureError(ValueError):
    """A file that gives no picture: its kind (`problems`), and why."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind = kind


@contextmanager
def opened(root: str, name: str, max_bytes: int) -> Iterator[BinaryIO]:
    """Open a plain file of a folder; a link may lead to another file of it.

    Raises:
        PictureError: it leads out, is no plain file, empty, too large, or cannot be read.
    """
    real = os.path.realpath(f"{root}/{name}")
    if not is_inside(root, real):
        raise PictureError(problems.LINK_OUT, "expected a file of the folder, got a link out of it; copy the file")
    try:
        # A pipe that has taken the file's place since the listing must not be waited for.
        descriptor = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        why = f"expected a file that may be read, got: {error.strerror}"
        raise PictureError(problems.UNREADABLE, why) from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise PictureError(problems.NOT_PLAIN, "expected a plain file, got a pipe, a socket or a device")
        if status.st_size == 0:
            raise PictureError(problems.EMPTY, "expected a file with something in it, got 0 bytes")
        if status.st_size > max_bytes:
            raise PictureError(problems.TOO_LARGE, f"expected at most {max_bytes} bytes, got {status.st_size}")
        yield file


def read_square(name: str, options: ReadOptions) -> Square:
    """Return a file's picture.

    Raises:
        PictureError: there is none in it.
    """
    with opened(options.root, name, options.max_file_bytes) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Image.MAX_IMAGE_PIXELS = None  # the header's size is held against our own bound, before anything is decoded
        try:
            with Image.open(file, formats=FORMATS) as image:
                _check_header(image, options)
                width, height = image.size
                image.draft(image.mode, (ENOUGH_PIXELS, ENOUGH_PIXELS))
                # Pillow turns those while it decodes them; of others it may not be asked before.
                is_turned = image.format == "TIFF" and _orientation(image) in TURNS
                image.load()
                return _square(image, (width, height), is_turned, options)
        except PictureError:
            raise
        except UnknownPixelsError as error:
            raise PictureError(problems.UNKNOWN_PIXELS, str(error)) from None
        except UnidentifiedImageError:
            raise PictureError(problems.NO_PICTURE, f"{EXPECTED}, got something else") from None
        except Exception as error:  # Pillow's readers raise a dozen classes for damaged files
            line = " ".join(str(error).split())[:100] or type(error).__name__
            kind = problems.TRUNCATED if "truncat" in line.lower() else problems.BROKEN
            raise PictureError(kind, f"expected a whole picture, got: {line}") from None


def _check_header(image: Image.Image, options: ReadOptions) -> None:
    """Check what a file says of itself.

    Raises:
        PictureError: too many pixels or too few, or more than one picture.
    """
    width, height = image.size
    if width * height > options.max_pixels:
        why = f"expected at most {options.max_pixels} pixels, got {width} x {height}"
        raise PictureError(problems.TOO_MANY_PIXELS, why)
    if min(width, height) < options.smallest_side:
        why = f"expected at least {options.smallest_side} pixels a side, got {width} x {height}"
        raise PictureError(problems.TOO_SMALL, why)
    if image.format == "MPO":  # a camera's JPEG with a second view or a depth map behind it
        return
    try:
        image.seek(1)
    except EOFError:
        image.seek(0)
        return
    raise PictureError(problems.ANIMATED, "expected one picture, got several frames or pages")


def _square(image: Image.Image, size: tuple[int, int], is_turned: bool, options: ReadOptions) -> Square:
    """Return a decoded picture as it is kept.

    Args:
        image: Decoded.
        size: Width and height as the header says them.
        is_turned: Whether it was already turned as EXIF says.
        options: How it is read.
    """
    profile, turn = image.info.get("icc_profile"), TURNS.get(_orientation(image))
    known = plain(image)
    short = min(known.size)
    left, top = (known.width - short) / 2, (known.height - short) / 2
    box = (left, top, left + short, top + short)

    def at(side: int, resampling: Image.Resampling) -> NDArray[np.uint8]:
        # Colours and turns on the small square: they commute with it, or nearly so, and cost nothing there.
        small = flattened(known.resize((side, side), resampling, box), profile, options.ground)
        return np.asarray(small.transpose(turn) if turn is not None else small)

    seen = at(HASHED_SIDE, Image.Resampling.BOX)
    content = blake2b(np.ascontiguousarray(seen).tobytes(), digest_size=HASH_BYTES).digest()
    done = {FROM_CMYK: known.mode == "CMYK", FLATTENED: known.mode == "RGBA", TURNED: is_turned or turn is not None}
    conversions = tuple(name for name, is_done in done.items() if is_done)
    return Square(at(options.side, Image.Resampling.LANCZOS), *size, content, conversions)


def _orientation(image: Image.Image) -> int:
    """Return how EXIF says that the picture lies; 1 where it says nothing that can be read."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # damaged EXIF spoils no picture
        return 1
