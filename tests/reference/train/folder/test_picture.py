"""Single files: what is made of every kind of pixels, and which files are none."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from mulo_sd.reference.train.folder import problems
from mulo_sd.reference.train.folder.picture import FLATTENED, FROM_CMYK, TURNED, PictureError, read_square
from tests.reference.train.folder.made import noise, read_options

BLOCKS = np.array([[[200, 30, 40], [20, 180, 60]], [[40, 50, 210], [230, 220, 40]]], np.uint8)


def blocks(side: int = 64) -> Image.Image:
    """Four flat quarters, each of another colour."""
    return Image.fromarray(BLOCKS.repeat(side // 2, 0).repeat(side // 2, 1))


def centres(pixels: np.ndarray) -> np.ndarray:
    """Return the pixels in the middle of the four quarters, Int[2, 2, 3]."""
    side = len(pixels)
    places = [side // 4, 3 * side // 4]
    return pixels[np.ix_(places, places)].astype(int)


MODES = {
    "png": ("RGB", "L", "LA", "P", "RGBA", "1", "I;16"),
    "jpg": ("RGB", "L", "CMYK", "YCbCr"),
    "webp": ("RGB", "RGBA", "L"),
    "bmp": ("RGB", "RGBA", "L", "P", "1"),
    "tif": ("RGB", "L", "LA", "P", "RGBA", "1", "CMYK", "I;16", "YCbCr"),
    "gif": ("RGB", "L", "P", "1"),
}


@pytest.mark.parametrize(("suffix", "mode"), [(suffix, mode) for suffix, modes in MODES.items() for mode in modes])
def test_every_kind_of_pixels(tmp_path: Path, suffix: str, mode: str) -> None:
    picture = blocks()
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    elif mode == "P":
        picture = picture.quantize(4)
    else:
        picture = picture.convert(mode)
    picture.save(tmp_path / f"a.{suffix}", lossless=True)
    square = read_square(f"a.{suffix}", read_options(tmp_path))
    assert square.pixels.shape == (32, 32, 3)
    assert square.pixels.dtype == np.uint8
    assert (square.width, square.height) == (64, 64)
    done = {"CMYK": (FROM_CMYK,), "RGBA": (FLATTENED,), "LA": (FLATTENED,)}
    if suffix not in ("webp", "bmp"):  # whose writers leave out what is nowhere transparent
        assert square.conversions == done.get(mode, ())
    expected = BLOCKS.astype(int)
    if mode in ("L", "LA", "I;16"):
        expected = np.repeat(np.asarray(blocks().convert("L"))[16::32, 16::32, None], 3, 2).astype(int)
    if mode == "1":  # dithered: light stays light
        assert square.pixels[20:, 20:].mean() > square.pixels[:12, :12].mean() + 60
    else:
        assert np.abs(centres(square.pixels) - expected).max() <= (8 if suffix == "jpg" or mode == "CMYK" else 2)


def test_cmyk_of_jpeg(tmp_path: Path) -> None:
    """No ink is white, a full plate its colour: Adobe's files hold the plates the other way round."""
    plates = [(0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 255, 0)]
    inks = np.array(plates, np.uint8).reshape(2, 2, 4).repeat(32, 0).repeat(32, 1)
    Image.fromarray(inks, "CMYK").save(tmp_path / "a.jpg", quality=95)
    found = centres(read_square("a.jpg", read_options(tmp_path)).pixels)
    assert np.abs(found - [[[255, 255, 255], [0, 255, 255]], [[255, 0, 255], [255, 255, 0]]]).max() <= 12


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_exif_turns(tmp_path: Path, orientation: int, suffix: str) -> None:
    """As Pillow turns the whole picture, pixel by pixel; a camera's is not square."""
    flat = np.full((40, 64, 3), 90, np.uint8)
    flat[:, 12:52] = np.asarray(blocks(40))
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(flat).save(tmp_path / f"a.{suffix}", exif=exif, lossless=True)
    square = read_square(f"a.{suffix}", read_options(tmp_path, 40))
    with Image.open(tmp_path / f"a.{suffix}") as opened:
        opened.load()
        turned = ImageOps.exif_transpose(opened).convert("RGB")
    left, top = (turned.width - 40) // 2, (turned.height - 40) // 2
    expected = np.asarray(turned.crop((left, top, left + 40, top + 40)))
    assert np.array_equal(square.pixels, expected)
    assert square.conversions == ((TURNED,) if orientation > 1 else ())
    if suffix != "jpg":
        quarters = np.asarray(ImageOps.exif_transpose(with_exif(Image.fromarray(BLOCKS), orientation)))
        assert np.array_equal(centres(square.pixels), quarters)


def with_exif(picture: Image.Image, orientation: int) -> Image.Image:
    """Return a picture that says how it lies."""
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    picture.save(file, "PNG", exif=exif)
    return Image.open(file)


@pytest.mark.parametrize(("ground", "expected"), [((255, 255, 255), (227, 127, 127)), ((0, 0, 0), (100, 0, 0))])
def test_alpha_over_a_ground(tmp_path: Path, ground: tuple[int, int, int], expected: tuple[int, int, int]) -> None:
    half = np.full((32, 32, 4), (200, 0, 0, 128), np.uint8)
    half[:16] = (0, 255, 0, 0)  # what cannot be seen shows nowhere, not even at its edge
    Image.fromarray(half).save(tmp_path / "a.png")
    pixels = read_square("a.png", read_options(tmp_path, 16, ground=ground)).pixels.astype(int)
    assert np.array_equal(pixels[:4], np.broadcast_to(ground, (4, 16, 3)))
    assert np.abs(pixels[13:] - expected).max() <= 1
    assert pixels[..., 1].max() <= max(ground[1], expected[1]) + 4


def test_transparent_index_of_a_palette(tmp_path: Path) -> None:
    picture = Image.fromarray(np.zeros((32, 32), np.uint8)).convert("P")
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.paste(1, (0, 0, 16, 32))
    picture.save(tmp_path / "a.gif", transparency=0)
    pixels = read_square("a.gif", read_options(tmp_path, ground=(1, 2, 3))).pixels
    assert tuple(pixels[5, 5]) == (200, 100, 50)
    assert tuple(pixels[5, 28]) == (1, 2, 3)


def swapped_profile() -> bytes:
    """Return an ICC profile in which red is what sRGB calls blue."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack(">I", profile[128:132])[0]
    tags = {bytes(profile[at : at + 4]): at for at in range(132, 132 + 12 * count, 12)}
    red, blue = (struct.unpack(">II", profile[tags[name] + 4 : tags[name] + 12]) for name in (b"rXYZ", b"bXYZ"))
    profile[tags[b"rXYZ"] + 4 : tags[b"rXYZ"] + 12] = struct.pack(">II", *blue)
    profile[tags[b"bXYZ"] + 4 : tags[b"bXYZ"] + 12] = struct.pack(">II", *red)
    return bytes(profile).replace("sRGB".encode("utf-16-be"), "xxxx".encode("utf-16-be"))


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
def test_a_profile_is_applied(tmp_path: Path, suffix: str) -> None:
    plain = Image.new("RGB", (32, 32), (220, 40, 30))
    plain.save(tmp_path / f"a.{suffix}", icc_profile=swapped_profile())
    red, _, blue = read_square(f"a.{suffix}", read_options(tmp_path)).pixels[16, 16].astype(int)
    assert blue > 200
    assert red < 60
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain.save(tmp_path / "b.png", icc_profile=srgb)
    assert tuple(read_square("b.png", read_options(tmp_path)).pixels[3, 3]) == (220, 40, 30)
    for number, damaged in enumerate((b"no profile", swapped_profile()[:200])):
        plain.save(tmp_path / f"c{number}.png", icc_profile=damaged)
        assert tuple(read_square(f"c{number}.png", read_options(tmp_path)).pixels[3, 3]) == (220, 40, 30)


def test_the_middle_square_of_a_large_jpeg(tmp_path: Path) -> None:
    """Decoded at a part of its size; the hash does not depend on the side at which it is kept."""
    wide = np.full((2048, 3000, 3), 255, np.uint8)
    wide[:, 476:2524] = np.asarray(blocks(2048))
    Image.fromarray(wide).save(tmp_path / "a.jpg", quality=92)
    options = read_options(tmp_path, 32, max_pixels=2**24, max_file_bytes=2**24)
    square = read_square("a.jpg", options)
    assert np.abs(centres(square.pixels) - BLOCKS).max() <= 4
    assert (square.width, square.height) == (3000, 2048)
    larger = read_square("a.jpg", read_options(tmp_path, 160, max_pixels=2**24, max_file_bytes=2**24))
    assert larger.hash == square.hash


def test_the_same_pixels_in_another_format_have_the_same_hash(tmp_path: Path) -> None:
    picture = Image.fromarray(noise(3))
    picture.save(tmp_path / "a.png")
    picture.save(tmp_path / "b.bmp")
    Image.fromarray(noise(4)).save(tmp_path / "c.png")
    first, second, other = (read_square(name, read_options(tmp_path)).hash for name in ("a.png", "b.bmp", "c.png"))
    assert first == second != other


def png_header(width: int, height: int) -> bytes:
    """Return the beginning of a PNG file that says how large it is."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"\0" * 64)
    ends = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (chunk, data)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(ends)


def encoded(suffix: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(noise(1)).save(file, suffix, **options)
    return file.getvalue()


def animation(suffix: str) -> bytes:
    return encoded(suffix, save_all=True, append_images=[Image.fromarray(noise(2))])


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "text.png": (lambda: b"this is a text, whatever its name says\n", problems.NO_PICTURE),
    "page.jpg": (lambda: b"<!DOCTYPE html><html></html>", problems.NO_PICTURE),
    "zeros.png": (lambda: bytes(1000), problems.NO_PICTURE),
    "empty.png": (lambda: b"", problems.EMPTY),
    "cut.jpg": (lambda: encoded("JPEG")[:-300], problems.TRUNCATED),
    "cut.gif": (lambda: encoded("GIF")[:-900], problems.TRUNCATED),
    "cut.bmp": (lambda: encoded("BMP")[:-900], problems.TRUNCATED),
    "cut.png": (lambda: encoded("PNG")[:-2000], problems.TRUNCATED),
    "flipped.png": (lambda: encoded("PNG")[:200] + b"\xff" * 50 + encoded("PNG")[250:], problems.BROKEN),
    "moving.gif": (lambda: animation("GIF"), problems.ANIMATED),
    "moving.webp": (lambda: animation("WEBP"), problems.ANIMATED),
    "moving.png": (lambda: animation("PNG"), problems.ANIMATED),
    "pages.tif": (lambda: animation("TIFF"), problems.ANIMATED),
    "bomb.png": (lambda: png_header(100_000, 100_000), problems.TOO_MANY_PIXELS),
    "strip.png": (lambda: png_header(2**31 - 1, 1), problems.TOO_MANY_PIXELS),
    "large.bmp": (lambda: encoded("BMP") + bytes(2**20), problems.TOO_LARGE),
    "floats.tif": (lambda: floats(), problems.UNKNOWN_PIXELS),
}


def floats() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.ones((32, 32), np.float32)).save(file, "TIFF")
    return file.getvalue()


@pytest.mark.parametrize("name", BAD)
def test_files_that_are_no_picture(tmp_path: Path, name: str) -> None:
    make, kind = BAD[name]
    (tmp_path / name).write_bytes(make())
    with pytest.raises(PictureError) as caught:
        read_square(name, read_options(tmp_path))
    assert caught.value.kind == kind
    assert str(caught.value).startswith("expected ")
    assert "\n" not in str(caught.value)


def test_cut_webp(tmp_path: Path) -> None:
    """Its decoder tells no kind."""
    (tmp_path / "a.webp").write_bytes(encoded("WEBP")[:-200])
    with pytest.raises(PictureError):
        read_square("a.webp", read_options(tmp_path))


def test_a_picture_of_two_views_is_one(tmp_path: Path) -> None:
    """Cameras hide a second view, or a map of depths, behind a JPEG."""
    Image.fromarray(noise(1)).save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[Image.fromarray(noise(2))])
    with Image.open(tmp_path / "a.jpg") as opened:
        assert opened.n_frames == 2  # type: ignore[attr-defined]
    Image.fromarray(noise(1)).save(tmp_path / "b.jpg")
    first, second = (read_square(name, read_options(tmp_path)).hash for name in ("a.jpg", "b.jpg"))
    assert first == second


def test_a_picture_that_is_too_small(tmp_path: Path) -> None:
    Image.new("RGB", (100, 7)).save(tmp_path / "a.png")
    with pytest.raises(PictureError, match="at least 8 pixels a side, got 100 x 7"):
        read_square("a.png", read_options(tmp_path, smallest_side=8))


def test_files_that_are_not_opened(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside.png", tmp_path / "folder"
    folder.mkdir()
    Image.fromarray(noise(1)).save(outside)
    (folder / "link.png").symlink_to(outside)
    os.mkfifo(folder / "pipe.png")
    for name, kind in (
        ("link.png", problems.LINK_OUT),
        ("pipe.png", problems.NOT_PLAIN),
        ("no.png", problems.UNREADABLE),
    ):
        with pytest.raises(PictureError) as caught:
            read_square(name, read_options(folder))
        assert caught.value.kind == kind
    Image.fromarray(noise(1)).save(folder / "a.png")
    (folder / "inner.png").symlink_to("a.png")
    assert read_square("inner.png", read_options(folder)).hash == read_square("a.png", read_options(folder)).hash
