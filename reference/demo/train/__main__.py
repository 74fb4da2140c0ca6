"""python -m reference.demo.train MODEL --out DIR: train a model of the demo, or a latent sampler for any tokenizer."""

import argparse
import sys
from collections.abc import Mapping
from functools import partial
from typing import get_args

import torch

from mulo_sd.engines.commands.command_line import command, program, purpose
from mulo_sd.engines.files.paths import user_path
from mulo_sd.reference.demo.shipped import SHIPPED
from mulo_sd.reference.demo.train.images import ImageFolderError
from mulo_sd.reference.demo.train.jobs import (
    BATCH,
    EXTRAS,
    GRID,
    MATRIX_RATE,
    SCALERS,
    STEPS,
    check_place,
    make_run,
    train_extra,
    train_scaler,
    train_tokenizer,
    train_transformer,
)
from mulo_sd.reference.demo.train.run import RunError, read_checkpoint
from mulo_sd.reference.demo.train.scaler_losses import ScalerLoss
from mulo_sd.reference.demo.train.workers import run_workers
from mulo_sd.reference.numbers import MAX_THREADS, real_number, whole_number
from mulo_sd.reference.weights import WeightsError, load_tokenizer, load_transformer

# The range of every number on the command line.
_WHOLE = {
    "steps": (1, 10**9),
    "batch": (1, 2**20),
    "threads": (1, MAX_THREADS),
    "workers": (1, 256),
    "score_per_task": (1, 10**5),
    "seed": (0, 2**20 - 1),
}
_REAL = {"rate": (1e-9, 1e3), "object_weight": (1, 1e3), "rescaled_share": (0, 1)}


def _by_model(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in values.items())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=program("reference.demo.train"), description=purpose(__doc__))
    parser.add_argument("model", choices=tuple(STEPS), help="which one")
    parser.add_argument(
        "--out", type=user_path, required=True, help="folder for checkpoints, pictures, weights and card"
    )
    parser.add_argument("--steps", type=int, help=f"default: {_by_model(STEPS)}")
    parser.add_argument(
        "--batch", type=int, help=f"images a step of a drafter or the target; default: {_by_model(BATCH)}"
    )
    parser.add_argument(
        "--rate", type=float, help=f"peak learning rate of the matrices; default: {_by_model(MATRIX_RATE)}"
    )
    parser.add_argument("--seed", type=int, default=0, help="of weights and examples; default: %(default)s")
    parser.add_argument("--workers", type=int, default=1, help="processes that share every batch (drafters, target)")
    parser.add_argument("--threads", type=int, default=2, help="threads of each process")
    parser.add_argument("--compile", action="store_true", help="compile the model first (needs a C++ compiler)")
    parser.add_argument(
        "--tokenizer",
        type=user_path,
        default=SHIPPED / "tokenizer.safetensors",
        help="its weights; default: the shipped ones",
    )
    parser.add_argument(
        "--target",
        type=user_path,
        default=SHIPPED / "target.safetensors",
        help="what a head or block drafts for; default: the shipped one",
    )
    parser.add_argument("--object-weight", type=float, default=5.0, help="of a planned object's cells in the loss")
    parser.add_argument(
        "--rescaled-share", type=float, default=0.5, help="of the examples: how many see contexts of other resolutions"
    )
    scalers = parser.add_argument_group("up_sampler and down_sampler")
    scalers.add_argument("--ratio", type=int, default=2, help="scale ratio")
    scalers.add_argument("--loss", choices=get_args(ScalerLoss), default="pixel", help="default: %(default)s")
    scalers.add_argument("--images", type=user_path, help="folder of PNG and JPEG files; default: the demo's scenes")
    scalers.add_argument(
        "--fine-sides", type=int, nargs="+", help="cells a side of the finer grid; default: 16 32 at ratio 2, else 32"
    )
    scalers.add_argument(
        "--rows-above", type=int, choices=(1, 2), default=2, help="2: row-causal; 1: a row sees the one below it"
    )
    parser.add_argument("--warm-start", type=user_path, help="weights of a drafter or target to start from")
    parser.add_argument("--score-per-task", type=int, default=40, help="held-out prompts a task in the final scores")
    arguments = parser.parse_args()
    arguments.fine_sides = tuple(arguments.fine_sides or ((16, 32) if arguments.ratio == 2 else (32,)))
    if not 2 <= arguments.ratio <= 16 or any(side < 1 or side % arguments.ratio for side in arguments.fine_sides):
        parser.error(f"--fine-sides: expected multiples of --ratio (2 to 16), got {arguments.fine_sides}")
    try:
        _check_numbers(arguments)
    except ValueError as error:
        parser.error(str(error))
    if arguments.out.exists() and not arguments.out.is_dir():
        parser.error(f"--out: expected a folder, got the file {arguments.out}")
    if arguments.model in GRID and (arguments.batch or BATCH[arguments.model]) % arguments.workers:
        parser.error(f"--batch: expected a multiple of the {arguments.workers} workers, which share it")
    return arguments


def _check_numbers(arguments: argparse.Namespace) -> None:
    """Hold numbers against their ranges.

    Raises:
        ValueError: one is out of it.
    """
    for name, (least, most) in _WHOLE.items():
        value = getattr(arguments, name)
        if value is not None:
            whole_number(f"--{name.replace('_', '-')}", value, least, most)
    for name, (smallest, largest) in _REAL.items():
        value = getattr(arguments, name)
        if value is not None:
            real_number(f"--{name.replace('_', '-')}", value, smallest, largest)


@command
def main() -> int:
    """Train, save weights, score them, and write the card."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    try:
        if arguments.model != "tokenizer":
            load_tokenizer(arguments.tokenizer)  # report a bad path once, and not in every worker
            if arguments.warm_start:
                load_transformer(arguments.warm_start)
            if arguments.model in EXTRAS:
                load_transformer(arguments.target)
        run = make_run(arguments)
        if read_checkpoint(run.checkpoint, run.job) is None:
            check_place(arguments)
        if arguments.model == "tokenizer":
            train_tokenizer(arguments)
        elif arguments.model in SCALERS:
            train_scaler(arguments)
        elif arguments.model in EXTRAS:
            train_extra(arguments)
        else:
            run_workers(arguments.workers, arguments.threads, partial(train_transformer, arguments))
    except (WeightsError, RunError, ImageFolderError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
