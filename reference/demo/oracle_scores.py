"""python -m reference.demo.oracle_scores: how well each up-sampler keeps a real scene.

The coarse tokens of held-out renders are up-sampled and decoded, with no model between: what is lost here no drafter
can bring, and verification has to mend.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from mulo_sd.engines.commands.command_line import command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.files.paths import user_path
from mulo_sd.reference import demo
from mulo_sd.reference.demo.evaluate import prompt_holds
from mulo_sd.reference.demo.scenes import Scene, held_out_scenes
from mulo_sd.reference.images import images_from_pixels, pixels_from_images
from mulo_sd.reference.models import Models
from mulo_sd.reference.numbers import whole_number
from mulo_sd.reference.settings import UpSampler
from mulo_sd.reference.tokenizer import ImageTokenizer
from mulo_sd.reference.weights import WeightsError, load_latent_up_sampler

FINE_SIDE = 32  # cells
MAX_PER_TASK = 100_000
UpSample = Callable[[Tensor], Tensor]


@torch.inference_mode()
def oracle_score(
    up_sample: UpSample, tokenizer: ImageTokenizer, coarse_side: int, scenes: Sequence[Scene]
) -> tuple[float, float]:
    """Return the share of scenes whose prompt holds, and the mean PSNR in dB against the render of the fine size.

    Args:
        up_sample: Int[coarse_side, coarse_side] -> Int[FINE_SIDE, FINE_SIDE].
        tokenizer: Makes the coarse tokens and the image.
        coarse_side: In cells.
        scenes: To render.
    """
    held, psnr = [], []
    for item in scenes:
        coarse, fine = (
            images_from_pixels(torch.from_numpy(item.render(side * tokenizer.config.factor))[None])
            for side in (coarse_side, FINE_SIDE)
        )
        made = tokenizer.images_from_tokens(up_sample(tokenizer.tokens_from_images(coarse)[0])[None])
        psnr.append(float(10 * torch.log10(4 / (made - fine).square().mean())))
        held.append(prompt_holds(item.prompt, pixels_from_images(made)[0].numpy()))
    return float(np.mean(held)), float(np.mean(psnr))


def up_sample_by(models: Models, name: UpSampler, ratios: Sequence[int]) -> UpSample:
    """Return an up-sampler that goes through several ratios in turn."""

    def through(tokens: Tensor) -> Tensor:
        for ratio in ratios:
            tokens = models.up_sample(name, tokens, ratio)
        return tokens

    return through


def _listed(models: Models) -> Iterator[tuple[str, str, UpSample, int]]:
    names: tuple[UpSampler, ...] = get_args(UpSampler)
    for name in names:
        for ratios, words in (((2,), "2"), ((4,), "4"), ((2, 2), "2 and 2")):
            yield name, words, up_sample_by(models, name, ratios), FINE_SIDE // int(np.prod(ratios))


def _from_files(models: Models, files: Sequence[Path]) -> Iterator[tuple[str, str, UpSample, int]]:
    for file in files:
        ratio = load_latent_up_sampler(file).config.scale_ratio
        replaced = demo.with_latent_samplers(models, [file], [])
        yield str(file), str(ratio), up_sample_by(replaced, "latent", [ratio]), FINE_SIDE // ratio


@command
def main() -> int:
    """Print a table."""
    parser = command_parser("reference.demo.oracle_scores", __doc__)
    parser.add_argument("--per-task", type=int, default=10, help="held-out scenes of each of the six tasks")
    parser.add_argument(
        "--up-sampler", type=user_path, nargs="+", metavar="FILE", help="latent ones from files, instead of the demo's"
    )
    arguments = parser.parse_args()
    try:
        whole_number("--per-task", arguments.per_task, 1, MAX_PER_TASK)
    except ValueError as error:
        parser.error(str(error))
    torch.set_num_threads(1)
    models, scenes = demo.load(), list(held_out_scenes(arguments.per_task))
    table = Table(title=f"up-sampled renders, {len(scenes)} scenes")
    for column in ("up-sampler", "ratios", "score %", "PSNR dB"):
        table.add_column(column, justify="left" if column == "up-sampler" else "right")
    score_of = partial(oracle_score, tokenizer=models.tokenizer, scenes=scenes)
    try:
        chosen = list(_listed(models) if arguments.up_sampler is None else _from_files(models, arguments.up_sampler))
    except WeightsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name, words, up_sample, coarse_side in chosen:
        score, psnr = score_of(up_sample, coarse_side=coarse_side)
        table.add_row(name, words, f"{100 * score:.1f}", f"{psnr:.2f}")
    Console(width=100).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
