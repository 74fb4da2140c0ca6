"""python -m engines.check_layout FOLDER --layout geneval --prompts FILE: is a folder ready for its scorer?"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from mulo_sd.engines.commands.command_line import UNUSABLE, command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.commands.layouts import LAYOUTS, LayoutError, PromptsError, Task, read_tasks
from mulo_sd.engines.commands.run_folder import FOREIGN, RUN_NAME
from mulo_sd.engines.files.paths import user_path

MAX_NAMED = 10
# Scorers take these for images whatever their names begin with: macOS leaves ._NAME.png beside NAME.png.
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".ppm", ".tif", ".tiff")


def faults(folder: Path, tasks: list[Task], pixels: int | None) -> Iterator[str]:
    """Return one line for each fault of a folder: a file that is missing, broken, of another size, or unknown.

    Args:
        folder: The folder of images.
        tasks: The tasks whose images it should hold.
        pixels: The side of every tile; None takes the first image's.
    """
    for task in tasks:
        for name, text in task.texts.items():
            yield from _faults_of_text(folder, name, text)
        for name in task.images:
            side = 2 if task.tiles == 4 else 1  # in tiles
            image = _read_image(folder / name)
            if isinstance(image, str):
                yield f"{name}: {image}"
                continue
            if pixels is None:
                pixels = image.size[0] // side
            yield from _faults_of_image(name, image, side * pixels)
    known = {RUN_NAME, *(name for task in tasks for name in (*task.texts, *task.images))}
    yield from _unknown_files(folder, known)


class ImageHeader(NamedTuple):
    """What an image's file says of it."""

    format: str | None
    mode: str
    size: tuple[int, int]


def _faults_of_text(folder: Path, name: str, text: str) -> Iterator[str]:
    path = folder / name
    if not path.is_file():
        yield f"{name}: missing"
    elif path.read_bytes() != text.encode():
        yield f"{name}: not as in the prompt file"


def _read_image(path: Path) -> ImageHeader | str:
    """Read an image to its end and return its header, or the fault that prevents it."""
    if not path.is_file():
        return "missing"
    try:
        with Image.open(path) as image:
            image.load()
            return ImageHeader(image.format, image.mode, image.size)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return "not a whole image"


def _faults_of_image(name: str, image: ImageHeader, pixels: int) -> Iterator[str]:
    if (image.format, image.mode) != ("PNG", "RGB"):
        yield f"{name}: expected a PNG in RGB, got {image.format} in {image.mode}"
    elif image.size != (pixels, pixels):
        yield f"{name}: expected {pixels} x {pixels} pixels, got {image.size[0]} x {image.size[1]}"


def _unknown_files(folder: Path, known: set[str]) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        is_folder = path.is_dir() and not path.is_symlink()
        if relative.as_posix() not in known and not is_folder and not _is_harmless(relative):
            yield f"{relative.as_posix()}: no file of this layout"


def _is_harmless(path: Path) -> bool:
    """Whether a file is hidden or left by an operating system, and no scorer takes it for an image."""
    hidden = any(FOREIGN.fullmatch(part) for part in path.parts)
    return hidden and path.suffix.lower() not in IMAGE_SUFFIXES


@command
def main() -> int:
    """Check a folder of images and print its faults.

    Returns:
        0 where it has none, 1 where it has some, 2 where the request cannot be used.
    """
    parser = command_parser(
        "engines.check_layout", "Check that a folder of images is complete and that its scorer can read it."
    )
    parser.add_argument("folder", type=user_path, help="the folder that `mulo-sd generate --prompts` wrote")
    parser.add_argument("--layout", choices=tuple(LAYOUTS), required=True, help="the layout that it was drawn in")
    parser.add_argument(
        "--prompts", type=user_path, required=True, help="the file or folder of prompts that it was drawn from"
    )
    parser.add_argument("--samples", type=int, help="images of each prompt; default: what the scorer expects")
    parser.add_argument("--pixels", type=int, help="side of every image in pixels; default: the first image's")
    arguments = parser.parse_args()
    try:
        tasks = read_tasks(arguments.layout, arguments.prompts, arguments.samples)
        if not arguments.folder.is_dir():
            raise LayoutError(f"{arguments.folder}: expected a folder of images, found none")
    except PromptsError as error:
        for line in error.lines():
            print(f"error: {line}", file=sys.stderr)
        return UNUSABLE
    except LayoutError as error:
        print(f"error: {error}", file=sys.stderr)
        return UNUSABLE
    lines = list(faults(arguments.folder, tasks, arguments.pixels))
    for line in lines[:MAX_NAMED]:
        print(line)
    if len(lines) > MAX_NAMED:
        print(f"and {len(lines) - MAX_NAMED} more")
    images = sum(len(task.images) for task in tasks)
    print(f"{arguments.folder}: {len(tasks)} prompts, {images} images, {len(lines) or 'no'} faults")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
