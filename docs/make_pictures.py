"""python docs/make_pictures.py: draw the README's picture from the demo bundle."""

from pathlib import Path

from PIL import Image, ImageDraw

import engines
from engines.storyboard import CAPTION_HEIGHT, GAP, PANEL_PIXELS, draw_storyboard

PROMPTS = ("a red circle left of a blue square", "three green stars", "a pink diamond above a yellow cross")
SEED = 1
TITLE_HEIGHT = 20


def _row(pipeline: engines.Pipeline, prompt: str) -> Image.Image:
    """Draw a prompt's MODE-PARALLEL step by step, and what MODE-AR draws beside it."""
    parallel = pipeline.generate(prompt, seed=SEED, mode="parallel")
    ar = pipeline.generate(prompt, seed=SEED, mode="ar")
    storyboard = draw_storyboard(parallel.trace, parallel.tokens, pipeline.image_from_tokens)
    row = Image.new("RGB", (storyboard.width + GAP + PANEL_PIXELS, TITLE_HEIGHT + storyboard.height), "white")
    row.paste(storyboard, (0, TITLE_HEIGHT))
    left = storyboard.width + GAP
    row.paste(ar.image.resize((PANEL_PIXELS, PANEL_PIXELS), Image.Resampling.NEAREST), (left, TITLE_HEIGHT))
    pen = ImageDraw.Draw(row)
    pen.text((2, TITLE_HEIGHT // 2), prompt, fill="black", anchor="lm")
    pen.text((left + 2, TITLE_HEIGHT + PANEL_PIXELS + 3), "autoregressive", fill="black")
    pen.text((left + 2, TITLE_HEIGHT + PANEL_PIXELS + 17), f"{ar.stats.nfe_target} passes", fill=(90, 90, 90))
    return row


def main() -> None:
    """Write docs/images/readme.png: a row a prompt."""
    pipeline = engines.load("bundles/demo-fp32")
    rows = [_row(pipeline, prompt) for prompt in PROMPTS]
    height = TITLE_HEIGHT + PANEL_PIXELS + CAPTION_HEIGHT
    picture = Image.new("RGB", (rows[0].width, len(rows) * height), "white")
    for index, row in enumerate(rows):
        picture.paste(row, (0, index * height))
    picture.save(Path(__file__).parent / "images" / "readme.png")


if __name__ == "__main__":
    main()
