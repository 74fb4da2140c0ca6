"""How well up-samplers keep a world's real scenes: what its command measures and prints.

The coarse tokens of held-out renders are up-sampled and decoded, with no model between: what is lost here no drafter
can bring, and verification has to mend.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from mulo_sd.engines.files.paths import user_path
from mulo_sd.reference.evaluator_accuracy import Evaluated, Judged
from mulo_sd.reference.images import images_from_pixels, pixels_from_images
from mulo_sd.reference.models import Models
from mulo_sd.reference.numbers import whole_number
from mulo_sd.reference.settings import UpSampler
from mulo_sd.reference.tokenizer import ImageTokenizer
from mulo_sd.reference.trained.fit import check_sampler
from mulo_sd.reference.weights import WeightsError, load_latent_up_sampler

FINE_SIDE = 32  # cells
RATIOS = (2, 4)
MAX_PER_TASK = 100_000
UpSample = Callable[[Tensor], Tensor]


@torch.inference_mode()
def oracle_score(
    up_sample: UpSample, tokenizer: ImageTokenizer, coarse_side: int, scenes: Sequence[Judged]
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
        own, _ = item.judge(pixels_from_images(made)[0].numpy())
        held.append(own)
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
            if name != "latent" or {*ratios} <= {*models.latent_up_samplers}:
                yield name, words, up_sample_by(models, name, ratios), FINE_SIDE // int(np.prod(ratios))


def _from_file(models: Models, file: Path) -> tuple[str, str, UpSample, int]:
    """Return a latent up-sampler from a file.

    Raises:
        WeightsError: it cannot be used, or was trained for another tokenizer or another ratio.
    """
    sampler = load_latent_up_sampler(file)
    ratio = sampler.config.scale_ratio
    if ratio not in RATIOS:
        raise WeightsError(f"{file}: expected a sampler of ratio {' or '.join(map(str, RATIOS))}, got {ratio}")
    check_sampler(sampler, file, ratio, models.tokenizer)
    models = replace(models, latent_up_samplers={ratio: sampler})
    return str(file), str(ratio), up_sample_by(models, "latent", [ratio]), FINE_SIDE // ratio


def add_arguments(parser: argparse.ArgumentParser, tasks: Sequence[str]) -> None:
    """Add the options that every such command has."""
    parser.add_argument("--per-task", type=int, default=10, help=f"held-out scenes of each of the {len(tasks)} tasks")
    parser.add_argument(
        "--up-sampler", type=user_path, nargs="+", metavar="FILE", help="latent ones from files, in place of all others"
    )


def run(parser: argparse.ArgumentParser, world: Evaluated, load: Callable[[], Models]) -> int:
    """Measure and print what the command line asks for; return its exit status.

    Args:
        parser: Has the options.
        world: Its scenes and what judges them.
        load: Returns its shipped models.
    """
    arguments = parser.parse_args()
    try:
        whole_number("--per-task", arguments.per_task, 1, MAX_PER_TASK)
    except ValueError as error:
        parser.error(str(error))
    torch.set_num_threads(1)
    try:
        models = load()
        files: Sequence[Path] | None = arguments.up_sampler
        chosen = [*_listed(models)] if files is None else [_from_file(models, file) for file in files]
    except WeightsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    scenes = world.scenes(arguments.per_task, 0)
    table = Table(title=f"up-sampled renders, {len(scenes)} scenes")
    for column in ("up-sampler", "ratios", "score %", "PSNR dB"):
        table.add_column(column, justify="left" if column == "up-sampler" else "right")
    for name, words, up_sample, coarse_side in chosen:
        score, psnr = oracle_score(up_sample, models.tokenizer, coarse_side, scenes)
        table.add_row(name, words, f"{100 * score:.1f}", f"{psnr:.2f}")
    Console(width=100).print(table)
    return 0
