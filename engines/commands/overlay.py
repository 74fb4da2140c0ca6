"""The overlay: an image tinted by what became of each draft token: kept, rejected, or resampled by expansion."""

import numpy as np
from PIL import Image, ImageDraw

from mulo_sd.engines.rules.trace import Trace

KEPT_RGB, REJECTED_RGB, EXPANDED_RGB = (70, 160, 90), (214, 40, 40), (245, 170, 40)
OPACITY = 0.45
MAGNIFY = 4
LEGEND_HEIGHT = 22


def draw_overlay(image: Image.Image, trace: Trace) -> Image.Image:
    """Return the image enlarged, every cell tinted by what became of its draft token.

    Cells without a draft token (MODE-AR, MODE-ZIPAR) are not tinted.
    """
    pixels = np.asarray(image).repeat(MAGNIFY, axis=0).repeat(MAGNIFY, axis=1).astype(np.float64)
    counts = {"kept": 0, "rejected": 0, "expanded": 0}
    for cycle in trace.cycles_of(0):  # a cascade's trace also holds its drafters' cycles
        cell = pixels.shape[1] // cycle.kept.shape[1]
        masks = {
            "kept": (cycle.kept & ~cycle.resampled, KEPT_RGB),
            "rejected": (~cycle.kept, REJECTED_RGB),
            "expanded": (cycle.kept & cycle.resampled, EXPANDED_RGB),
        }
        for name, (mask, rgb) in masks.items():
            counts[name] += int(mask.sum())
            for row, column in np.argwhere(mask):
                top, left = (cycle.first_row + row) * cell, column * cell
                inner = pixels[top + 1 : top + cell, left + 1 : left + cell]
                inner += OPACITY * (np.array(rgb) - inner)
    picture = Image.new("RGB", (pixels.shape[1], pixels.shape[0] + LEGEND_HEIGHT), "white")
    picture.paste(Image.fromarray(pixels.astype(np.uint8)))
    pen = ImageDraw.Draw(picture)
    left, middle = 6, pixels.shape[0] + LEGEND_HEIGHT // 2
    for name, rgb in (("kept", KEPT_RGB), ("rejected", REJECTED_RGB), ("expanded", EXPANDED_RGB)):
        pen.rectangle((left, middle - 5, left + 10, middle + 5), fill=rgb)
        label = f"{name} {counts[name]}"
        pen.text((left + 15, middle), label, fill="black", anchor="lm")
        left += 35 + int(pen.textlength(label))
    return picture
