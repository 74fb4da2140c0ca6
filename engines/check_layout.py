"""python -m engines.check_layout FOLDER --layout geneval --prompts FILE: is a folder ready for its scorer?"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from mulo_sd.engines.commands.command_line import command, program, purpose
from mulo_sd.engines.commands.layouts import LAYOUTS, LayoutError, PromptsError, Task, read_tasks
from mulo_sd.engines.commands.run_folder import FOREIGN, RUN_NAME
from mulo_sd.engines.files.paths import user_path

MAX_NAMED = 10
# Scorers take these for images whatever their names begin with: macOS leaves ._NAME.png beside NAME.png.
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".ppm", ".tif", ".tiff")


def faults(folder: Path, tasks: list[Task], pixels: int | None) -> Iterator[str]:
    """Return what is wrong with a folder, one line each: files missing, broken, of another size, or unknown.

    Args:
        folder: Of images.
        tasks: What it should hold.
        pixels: The side of every tile; None takes the first image's.
    """
    known = {RUN_NAME}
    for task in tasks:
        for name, text in task.texts.items():
            known.add(name)
            path = folder / name
            if not path.is_file():
                yield f"{name}: missing"
            elif path.read_bytes() != text.encode():
                yield f"{name}: not as in the prompt file"
        for name in task.images:
            known.add(name)
            path = folder / name
            if not path.is_file():
                yield f"{name}: missing"
                continue
            try:
                with Image.open(path) as image:
                    image.load()
                    kind, size = (image.format, image.mode), image.size
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
                yield f"{name}: not a whole image"
                continue
            side = 2 if task.tiles == 4 else 1
            pixels = size[0] // side if pixels is None else pixels
            if kind != ("PNG", "RGB"):
                yield f"{name}: expected a PNG in RGB, got {kind[0]} in {kind[1]}"
            elif size != (side * pixels, side * pixels):
                yield f"{name}: expected {side * pixels} x {side * pixels} pixels, got {size[0]} x {size[1]}"
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name in known or (path.is_dir() and not path.is_symlink()) or _is_harmless(path.relative_to(folder)):
            continue
        yield f"{name}: no file of this layout"


def _is_harmless(path: Path) -> bool:
    """Whether a file is hidden, or what a system leaves in folders, and no scorer takes it for an image."""
    hidden = any(FOREIGN.fullmatch(part) for part in path.parts)
    return hidden and path.suffix.lower() not in IMAGE_SUFFIXES


@command
def main() -> int:
    """Say whether a folder is complete and well-formed; 0 if it is, 1 if it is not."""
    parser = argparse.ArgumentParser(prog=program("engines.check_layout"), description=purpose(__doc__))
    parser.add_argument("folder", type=user_path, help="what `mulo-sd generate --prompts` wrote")
    parser.add_argument("--layout", choices=tuple(LAYOUTS), required=True, help="that it was drawn in")
    parser.add_argument("--prompts", type=user_path, required=True, help="the file or folder that it was drawn from")
    parser.add_argument("--samples", type=int, help="images a prompt; default: what the scorer expects")
    parser.add_argument("--pixels", type=int, help="pixels a side of every image; default: the first one's")
    arguments = parser.parse_args()
    try:
        tasks = read_tasks(arguments.layout, arguments.prompts, arguments.samples)
        if not arguments.folder.is_dir():
            raise LayoutError(f"{arguments.folder}: expected a folder of images, found none")
    except PromptsError as error:
        for line in error.lines():
            print(f"error: {line}", file=sys.stderr)
        return 2
    except LayoutError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    told = list(faults(arguments.folder, tasks, arguments.pixels))
    for line in told[:MAX_NAMED]:
        print(line)
    if len(told) > MAX_NAMED:
        print(f"and {len(told) - MAX_NAMED} more")
    images = sum(len(task.images) for task in tasks)
    print(f"{arguments.folder}: {len(tasks)} prompts, {images} images, {len(told) or 'no'} faults")
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
