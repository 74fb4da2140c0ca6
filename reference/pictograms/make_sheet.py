"""python -m reference.pictograms.make_sheet: choose pictograms that differ, and draw them into the shipped sheet.

A build step for people who change the world: it needs the font Noto Color Emoji and Unicode's emoji-test.txt (Debian's
packages fonts-noto-color-emoji and unicode-data). Everything else reads the sheet.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mulo_sd.engines.commands.command_line import command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.files.paths import user_path
from mulo_sd.reference.pictograms.sheet import COLUMNS, SHEET_FOLDER, SIDE

FONT_SIZE = 109  # the only one that the font's bitmaps have
CANVAS = (150, 140)
# How many of each group; places that fewer distinct pictograms leave open are an error.
GROUP_SIZES = {"faces": 40, "animals": 75, "food": 65, "things": 70, "places": 30, "signs": 20}
GROUPS = {
    "Smileys & Emotion": "faces",
    "Animals & Nature": "animals",
    "Food & Drink": "food",
    "Travel & Places": "places",
    "Activities": "things",
    "Objects": "things",
    "Symbols": "signs",
}
# Letters, hands, and families of shapes that differ in a detail alone.
LEFT_OUT = {"alphanum", "zodiac", "religion", "gender", "time", "keycap", "punctuation", "heart", "geometric"}
LEFT_OUT_NAMES = re.compile(r"button|input|clock|person|\bman\b|\bwoman\b|japanese| (with|of|in|and|on|for|before) |-")
MAX_WORDS = 3
# Chosen first: what prompts of pages and tests name.
CHOSEN = (
    "red apple",
    "cat face",
    "key",
    "banana",
    "owl",
    "pizza",
    "automobile",
    "house",
    "rocket",
    "umbrella",
    "robot",
)
LINE = re.compile(r"([0-9A-F ]+?)\s*; fully-qualified\s*# \S+ E([\d.]+) (.*)")
LATEST_VERSION = 14.0  # of Unicode's emoji that the font has
COMPARED_SIDE = 14  # pixels: what is left of a pictogram in a picture of 32
COMPARED_GROUNDS = ((235, 235, 235), (120, 150, 120))


@dataclass(frozen=True)
class Candidate:
    """A pictogram that may be chosen."""

    group: str
    name: str
    code_point: str
    image: Image.Image


def _drawn(text: str, font: ImageFont.FreeTypeFont) -> Image.Image | None:
    """Return a pictogram in the middle of a square, RGBA; None where the font has none."""
    image = Image.new("RGBA", CANVAS)
    ImageDraw.Draw(image).text((4, 0), text, font=font, embedded_color=True)
    box = image.getbbox()
    if box is None:
        return None
    image = image.crop(box)
    side = max(image.size)
    square = Image.new("RGBA", (side, side))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square.convert("RGBa").resize((SIDE, SIDE), Image.Resampling.LANCZOS).convert("RGBA")


def candidates(names: Path, font: ImageFont.FreeTypeFont) -> Iterator[Candidate]:
    """Yield the pictograms of one code point that have a plain name."""
    group = subgroup = ""
    for line in names.read_text(encoding="utf-8").splitlines():
        if line.startswith("# group:"):
            group = line.removeprefix("# group:").strip()
        elif line.startswith("# subgroup:"):
            subgroup = line.removeprefix("# subgroup:").strip()
        match = LINE.match(line)
        if match is None or group not in GROUPS or subgroup in LEFT_OUT or float(match[2]) > LATEST_VERSION:
            continue
        points = [point for point in match[1].split() if point != "FE0F"]
        name = match[3].strip().lower()
        plain = re.fullmatch("[a-z ]+", name) is not None and len(name.split()) <= MAX_WORDS
        if len(points) != 1 or not plain or LEFT_OUT_NAMES.search(name):
            continue
        image = _drawn(chr(int(points[0], 16)), font)
        if image is not None:
            yield Candidate(GROUPS[group], name, points[0], image)


def _features(image: Image.Image) -> NDArray[np.float64]:
    small = image.convert("RGBa").resize((COMPARED_SIDE, COMPARED_SIDE), Image.Resampling.BOX)
    pixels = np.asarray(small, dtype=np.float64)
    clear = 1 - pixels[..., 3:] / 255
    return np.concatenate([(pixels[..., :3] + clear * np.array(rgb)).ravel() for rgb in COMPARED_GROUNDS]) / 255


def choose(pool: list[Candidate]) -> list[Candidate]:
    """Return the named ones, then again and again the one that is farthest from all that are chosen.

    Raises:
        ValueError: a group has too few.
    """
    features = np.stack([_features(item.image) for item in pool])
    nearest = np.full(len(pool), np.inf)
    left = dict(GROUP_SIZES)
    chosen: list[int] = []
    names = [item.name for item in pool]
    while any(left.values()):
        if len(chosen) < len(CHOSEN):
            index = names.index(CHOSEN[len(chosen)])
        else:
            open_places = np.array([left[item.group] > 0 for item in pool])
            open_places[chosen] = False
            if not open_places.any():
                raise ValueError(f"pictograms: expected more, for {left}")
            index = int(np.where(open_places, nearest, -1).argmax())
        chosen.append(index)
        left[pool[index].group] -= 1
        nearest = np.minimum(nearest, np.sqrt(((features - features[index]) ** 2).mean(axis=1)))
    order = list(GROUP_SIZES)
    return sorted((pool[index] for index in chosen), key=lambda item: (order.index(item.group), item.name))


def _arguments() -> argparse.Namespace:
    parser = command_parser("reference.pictograms.make_sheet", __doc__)
    parser.add_argument(
        "--font", type=user_path, default=Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"), help="its file"
    )
    parser.add_argument(
        "--names", type=user_path, default=Path("/usr/share/unicode/emoji/emoji-test.txt"), help="Unicode's list"
    )
    parser.add_argument("--out", type=user_path, default=SHEET_FOLDER, help="folder of the sheet; default: the shipped")
    return parser.parse_args()


@command
def main() -> int:
    """Choose, draw and write sheet and list."""
    arguments = _arguments()
    try:
        font = ImageFont.truetype(str(arguments.font), FONT_SIZE)
        chosen = choose(list(candidates(arguments.names, font)))
        rows = -(-len(chosen) // COLUMNS)
        sheet = Image.new("RGBA", (COLUMNS * SIDE, rows * SIDE))
        for index, item in enumerate(chosen):
            sheet.paste(item.image, (index % COLUMNS * SIDE, index // COLUMNS * SIDE))
        arguments.out.mkdir(parents=True, exist_ok=True)
        sheet.save(arguments.out / "pictograms.webp", lossless=True, quality=100, method=6)
        listed = [{"name": item.name, "group": item.group, "code_point": item.code_point} for item in chosen]
        lines = ",\n".join(f"  {json.dumps(item)}" for item in listed)
        (arguments.out / "pictograms.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    except (OSError, ValueError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(f"wrote {len(chosen)} pictograms to {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
