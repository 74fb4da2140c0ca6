"""python -m conformance.tools.make_pictures: draw the README's pictures from a bundle of one of our worlds."""

import sys

from PIL import Image, ImageDraw

from mulo_sd import engines
from mulo_sd.conformance.worlds.choice import sure_world_of
from mulo_sd.conformance.worlds.world import WorldError
from mulo_sd.engines.commands.command_line import command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.commands.demo_bundle import BUNDLE_HELP, ready_bundle
from mulo_sd.engines.commands.storyboard import CAPTION_HEIGHT, GAP, PANEL_PIXELS, draw_storyboard
from mulo_sd.engines.files.paths import user_path
from mulo_sd.engines.files.whole_files import check_writable, write_whole

# By world: two things in relation, and several of a kind.
PROMPTS = {
    "demo": ("a red circle left of a blue square", "three green stars", "a pink diamond above a yellow cross"),
    "pictograms": ("a panda right of a sunrise", "three lobsters", "a tiger face above a cat face"),
}
SEED = 1
SWEEP_WIDTH = 64
TITLE_HEIGHT = 20


def _sweep_row(pipeline: engines.Pipeline, prompt: str) -> Image.Image:
    """Draw a prompt's MODE-AR by sweeps, step by step, and the same by one token a pass beside it."""
    sweeps = pipeline.generate(prompt, seed=SEED, mode="ar", sweep_width=SWEEP_WIDTH)
    ar = pipeline.generate(prompt, seed=SEED, mode="ar", sweep_width=1)
    same = int((sweeps.tokens == ar.tokens).sum())
    return _beside(pipeline, sweeps, ar, prompt, f"one token a pass: {same} of {ar.tokens.size} tokens are the same")


def _row(pipeline: engines.Pipeline, prompt: str) -> Image.Image:
    """Draw a prompt's MODE-PARALLEL step by step, and what MODE-AR draws beside it."""
    parallel = pipeline.generate(prompt, seed=SEED, mode="parallel")
    ar = pipeline.generate(prompt, seed=SEED, mode="ar", sweep_width=1)
    return _beside(pipeline, parallel, ar, prompt, "autoregressive")


def _beside(
    pipeline: engines.Pipeline, parallel: engines.Result, ar: engines.Result, prompt: str, title: str
) -> Image.Image:
    storyboard = draw_storyboard(parallel.trace, parallel.tokens, pipeline.image_from_tokens)
    row = Image.new("RGB", (storyboard.width + GAP + PANEL_PIXELS, TITLE_HEIGHT + storyboard.height), "white")
    row.paste(storyboard, (0, TITLE_HEIGHT))
    left = storyboard.width + GAP
    row.paste(ar.image.resize((PANEL_PIXELS, PANEL_PIXELS), Image.Resampling.NEAREST), (left, TITLE_HEIGHT))
    pen = ImageDraw.Draw(row)
    pen.text((2, TITLE_HEIGHT // 2), prompt, fill="black", anchor="lm")
    pen.text((left + 2, TITLE_HEIGHT + PANEL_PIXELS + 3), title, fill="black")
    pen.text((left + 2, TITLE_HEIGHT + PANEL_PIXELS + 17), f"{ar.stats.nfe_target} passes", fill=(90, 90, 90))
    return row


def _stacked(rows: list[Image.Image]) -> Image.Image:
    height = TITLE_HEIGHT + PANEL_PIXELS + CAPTION_HEIGHT
    picture = Image.new("RGB", (rows[0].width, len(rows) * height), "white")
    for index, row in enumerate(rows):
        picture.paste(row, (0, index * height))
    return picture


@command
def main() -> int:
    """Write the pictures: a row a prompt."""
    parser = command_parser("conformance.tools.make_pictures", __doc__)
    parser.add_argument("--bundle", type=user_path, default="pictograms", help=f"{BUNDLE_HELP}; default: %(default)s")
    parser.add_argument("--out", type=user_path, default="docs/images", help="folder; default: %(default)s")
    arguments = parser.parse_args()
    pictures = {arguments.out / "readme.png": _row, arguments.out / "sweeps.png": _sweep_row}
    for path in pictures:
        check_writable(path)
    try:
        bundle = ready_bundle(arguments.bundle, "ort", lambda line: print(line, file=sys.stderr))
        pipeline = engines.load(bundle)
        prompts = PROMPTS[sure_world_of(pipeline.bundle).name]
    except (engines.BundleError, WorldError) as error:
        parser.error(str(error))
    for path, draw in pictures.items():
        write_whole(path, _stacked([draw(pipeline, prompt) for prompt in prompts]).save)
    return 0


if __name__ == "__main__":
    sys.exit(main())
