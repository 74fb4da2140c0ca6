"""python docs/make_pictures.py: draw the README's picture from the demo bundle."""

from pathlib import Path

from PIL import Image, ImageDraw

import engines
from engines.overlay import draw_overlay

PROMPTS = ("a red circle left of a blue square", "three green stars", "a pink diamond above a yellow cross")
SEED = 1
SIDE, GAP, TITLE = 256, 8, 20


def main() -> None:
    """Write docs/images/readme.png: a row a prompt; MODE-AR, MODE-SERIAL, overlay."""
    pipeline = engines.load("bundles/demo-fp32")
    picture = Image.new("RGB", (3 * SIDE + 2 * GAP, len(PROMPTS) * (SIDE + GAP + TITLE)), "white")
    pen = ImageDraw.Draw(picture)
    for row, prompt in enumerate(PROMPTS):
        ar = pipeline.generate(prompt, seed=SEED, mode="ar")
        serial = pipeline.generate(prompt, seed=SEED, mode="serial")
        overlay = draw_overlay(serial.image, serial.trace)
        overlay = overlay.crop((0, 0, overlay.width, overlay.width))
        kept = f"kept {serial.stats.acceptance_rate:.0%}"
        titles = (
            f"AR, {ar.stats.nfe_target} passes, {ar.stats.seconds:.1f} s",
            f"MuLo-SD, {serial.stats.nfe_target} + {serial.stats.nfe_drafter} passes, {serial.stats.seconds:.1f} s",
            f"{prompt}: {kept}" if len(prompt) < 26 else kept,
        )
        top = row * (SIDE + GAP + TITLE)
        for column, (image, title) in enumerate(zip((ar.image, serial.image, overlay), titles, strict=True)):
            left = column * (SIDE + GAP)
            pen.text((left + 2, top + TITLE // 2), title, fill="black", anchor="lm")
            picture.paste(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC), (left, top + TITLE))
    picture.save(Path(__file__).parent / "images" / "readme.png")


if __name__ == "__main__":
    main()
