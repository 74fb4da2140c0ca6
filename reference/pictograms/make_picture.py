"""python -m reference.pictograms.make_picture: draw docs/images/pictograms.png, scenes of every task with captions."""

import sys

from PIL import Image, ImageDraw

from mulo_sd.engines.commands.command_line import command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.files.paths import user_path
from mulo_sd.engines.files.whole_files import check_writable, write_whole
from mulo_sd.reference.pictograms.captions import TASKS
from mulo_sd.reference.pictograms.scenes import PIXELS, TRAINING_SPLIT, Scene, scene

ROWS = 3
WIDTH = 168  # pixels of a column: as wide as a caption of two lines
LINE_HEIGHT = 12
MAX_LETTERS = 27  # of a line


def _lines(caption: str) -> str:
    """Break a caption into lines between words."""
    lines = [""]
    for word in caption.split():
        if len(lines[-1]) + 1 + len(word) > MAX_LETTERS:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def draw_grid(rows: list[list[Scene]]) -> Image.Image:
    """Return scenes in rows, each with its caption below."""
    height = PIXELS + 3 * LINE_HEIGHT
    picture = Image.new("RGB", (max(map(len, rows)) * WIDTH, len(rows) * height), "white")
    pen = ImageDraw.Draw(picture)
    for row, scenes in enumerate(rows):
        for column, item in enumerate(scenes):
            left, top = column * WIDTH + (WIDTH - PIXELS) // 2, row * height
            picture.paste(Image.fromarray(item.render(PIXELS)), (left, top))
            middle = column * WIDTH + WIDTH // 2
            pen.multiline_text((middle, top + PIXELS + 4), _lines(item.caption), "black", anchor="ma", align="center")
    return picture


@command
def main() -> int:
    """Write the picture: a column a task."""
    parser = command_parser("reference.pictograms.make_picture", __doc__)
    parser.add_argument(
        "--out", type=user_path, default="docs/images/pictograms.png", help="PNG file; default: %(default)s"
    )
    parser.add_argument("--first", type=int, default=20, help="number of the first scene; default: %(default)s")
    arguments = parser.parse_args()
    if arguments.first < 0:
        parser.error(f"--first: expected 0 or more, got {arguments.first}")
    try:
        check_writable(arguments.out)
    except OSError as error:
        parser.error(f"--out: {arguments.out}: cannot write it: {error.strerror or error}")
    rows = [[scene(arguments.first + row, TRAINING_SPLIT, task) for task in TASKS] for row in range(ROWS)]
    write_whole(arguments.out, lambda path: draw_grid(rows).save(path, "PNG", optimize=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
