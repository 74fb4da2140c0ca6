"""python -m reference.demo.train {tokenizer,drafter_2,drafter_1,target} --out DIR: train a model of the demo."""

import argparse
import sys
from functools import partial
from pathlib import Path

import torch

from reference.demo.train.jobs import BATCH, MATRIX_RATE, STEPS, make_run, train_tokenizer, train_transformer
from reference.demo.train.run import RunError, read_checkpoint
from reference.demo.train.workers import run_workers
from reference.demo.weights import SHIPPED
from reference.weights import WeightsError, load_tokenizer, load_transformer


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m reference.demo.train", description=__doc__)
    parser.add_argument("model", choices=tuple(STEPS))
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints, pictures, weights and card")
    parser.add_argument("--steps", type=int, help=f"default: {STEPS}")
    parser.add_argument("--batch", type=int, help=f"images a step of a drafter or the target; default: {BATCH}")
    parser.add_argument("--rate", type=float, help=f"peak learning rate of the matrices; default: {MATRIX_RATE}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes that share every batch (drafters, target)")
    parser.add_argument("--threads", type=int, default=2, help="threads of each process")
    parser.add_argument("--compile", action="store_true", help="compile the model first (needs a C++ compiler)")
    parser.add_argument("--tokenizer", type=Path, default=SHIPPED / "tokenizer.safetensors")
    parser.add_argument("--object-weight", type=float, default=5.0, help="of a planned object's cells in the loss")
    parser.add_argument(
        "--rescaled-share", type=float, default=0.5, help="of the examples: how many see contexts of other resolutions"
    )
    parser.add_argument("--warm-start", type=Path, help="weights of a drafter or target to start from")
    parser.add_argument("--score-per-task", type=int, default=40, help="held-out prompts a task in the final scores")
    arguments = parser.parse_args()
    for name in ("steps", "batch", "threads", "workers", "score_per_task", "object_weight"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            parser.error(f"--{name.replace('_', '-')}: expected at least 1, got {value}")
    for name in ("rate", "object_weight"):
        value = getattr(arguments, name)
        if value is not None and not 0 < value < 1e3:
            parser.error(f"--{name.replace('_', '-')}: expected a number above 0, got {value}")
    if not 0 <= arguments.rescaled_share <= 1:
        parser.error(f"--rescaled-share: expected a number in 0..1, got {arguments.rescaled_share}")
    if not 0 <= arguments.seed < 2**20:
        parser.error(f"--seed: expected 0..{2**20 - 1}, got {arguments.seed}")
    if arguments.out.exists() and not arguments.out.is_dir():
        parser.error(f"--out: expected a folder, got the file {arguments.out}")
    if arguments.model != "tokenizer" and (arguments.batch or BATCH[arguments.model]) % arguments.workers:
        parser.error(f"--batch: expected a multiple of the {arguments.workers} workers, which share it")
    return arguments


def main() -> int:
    """Train, save weights, score them, and write the card."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    try:
        if arguments.model != "tokenizer":
            load_tokenizer(arguments.tokenizer)  # a bad path is better told here than by every worker
            if arguments.warm_start:
                load_transformer(arguments.warm_start)
        run = make_run(arguments)
        read_checkpoint(run.checkpoint, run.job)
        if arguments.model == "tokenizer":
            train_tokenizer(arguments)
        else:
            run_workers(arguments.workers, arguments.threads, partial(train_transformer, arguments))
    except (WeightsError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
