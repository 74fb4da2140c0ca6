"""The training command's options."""

import argparse
from typing import get_args

from mulo_sd.engines.files.paths import user_path
from mulo_sd.reference.train.folder.options import AUGMENTATIONS
from mulo_sd.reference.train.recipe import BY_HEART, Keep, Sizes
from mulo_sd.reference.train.scaler_losses import ScalerLoss
from mulo_sd.reference.train.worlds import WORLD_NAMES

DEFAULTS = Sizes()


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Add all options; `checks.py` says what they may be."""
    parser.add_argument(
        "model",
        nargs="*",
        help="which models, such as tokenizer, drafter_1, target, up_sampler_2, head, block; default: tokenizer, "
        "drafters and target, each in its turn, and a bundle of them",
    )
    parser.add_argument("--out", type=user_path, required=True, help="folder for everything that is made")
    _add_pictures(parser.add_argument_group("pictures"))
    _add_sizes(parser.add_argument_group("sizes"))
    _add_course(parser.add_argument_group("course"))
    _add_machine(parser.add_argument_group("machine"))
    _add_starts(parser.add_argument_group("where to start"))


def _add_pictures(add: argparse._ArgumentGroup) -> None:
    add.add_argument("--images", type=user_path, metavar="DIR", help="folder of pictures, sub-folders included")
    add.add_argument(
        "--captions",
        type=user_path,
        metavar="FILE",
        help="JSONL or CSV; default: a text file beside each picture, or the folder's metadata.jsonl or .csv",
    )
    add.add_argument("--world", choices=WORLD_NAMES, help="a world of this repository in place of a folder")
    add.add_argument("--name", help="of the bundle; default: the folder's")
    add.add_argument("--augment", metavar="NAMES", help=f"some of {','.join(AUGMENTATIONS)}; default: none of them")
    add.add_argument("--ground", help="under transparent pixels: a name or #rrggbb; default: white")
    add.add_argument("--held-out-share", type=float, help="of the pictures, to judge by; default: 0.05")
    add.add_argument("--vocabulary", type=int, help="ids of captions at most, of a tokenizer to train; default: 2048")
    add.add_argument("--caption-tokenizer", type=user_path, metavar="FILE", help="one of the library tokenizers' JSON")
    add.add_argument("--prefix-length", type=int, help="ids of a caption; default: what 99%% of the captions need")
    add.add_argument("--readers", type=int, help="processes that decode pictures; default: one a core, at most 8")
    add.add_argument("--max-pixels", type=int, help="of a picture; default: 67108864")
    add.add_argument("--max-file-bytes", type=int, help="of a picture's file; default: 134217728")
    add.add_argument("--smallest-side", type=int, help="of a picture, in pixels; default: 16")


def _add_sizes(add: argparse._ArgumentGroup) -> None:
    add.add_argument("--pixels", type=int, default=DEFAULTS.pixels, help="a side of the pictures; default: %(default)s")
    add.add_argument("--drafters", type=int, default=DEFAULTS.drafters, help="1 or 2; default: %(default)s")
    for name, what in (
        ("factor", "pixels of a token's side, 4 or 8"),
        ("codes", "of the image tokenizer"),
        ("width", "of the image tokenizer's layers"),
        ("layers", "of a transformer"),
        ("heads", "of a transformer; of a published one of an unusual size, too"),
        ("dim", "of a transformer"),
    ):
        add.add_argument(f"--{name}", type=int, help=f"{what}; default: {getattr(DEFAULTS, name)}")
    add.add_argument("--latent-samplers", action="store_true", help="train an up- and a down-sampler of each ratio too")


def _add_course(add: argparse._ArgumentGroup) -> None:
    add.add_argument("--minutes", type=float, help="for all models together; default: by the number of pictures")
    add.add_argument("--steps", type=int, help="of the one model that is named")
    add.add_argument("--batch", type=int, help="images a step of the one model that is named")
    add.add_argument("--rate", type=float, help="peak learning rate of its matrices")
    add.add_argument(
        "--keep",
        choices=get_args(Keep),
        help="which weights of a transformer: the best on held-out pictures, or the last, which know most by heart; "
        f"default: best, of fewer than {BY_HEART} pictures last",
    )
    add.add_argument(
        "--patience",
        type=int,
        help="judgements without a lower held-out loss that end a run; 0: never; default: 6, where the last weights "
        "are kept and of a world's endless pictures 0",
    )
    add.add_argument(
        "--rescaled-share", type=float, help="of the examples: how many see other grids' contexts; default: 0.5"
    )
    add.add_argument(
        "--windows",
        type=float,
        metavar="SHARE",
        help="of the steps: how many of the first see parts of pictures; default: 0",
    )
    add.add_argument(
        "--decay",
        type=float,
        metavar="SHARE",
        help="of a transformer's steps: in how many of the last its rate falls; default: 0.4",
    )
    add.add_argument(
        "--focus-weight", type=float, help="of the cells that a world's caption speaks of, in the loss; default: 5"
    )
    add.add_argument("--sampler-loss", choices=get_args(ScalerLoss), help="of latent samplers; default: pixel")
    add.add_argument(
        "--rows-above", type=int, choices=(1, 2), help="of latent samplers: with 1 a row sees the one below; default: 2"
    )
    add.add_argument("--seed", type=int, default=0, help="of weights and examples; default: %(default)s")
    add.add_argument("--score-per-task", type=int, help="prompts a task in the scores of a world; 0: none; default: 40")
    add.add_argument("--no-bundle", action="store_true", help="stop before the bundle is built")


def _add_machine(add: argparse._ArgumentGroup) -> None:
    add.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to compute; default: a GPU if any"
    )
    add.add_argument(
        "--workers",
        type=int,
        default=1,
        help="processes that share a transformer's batches; of GPUs one each; default: %(default)s",
    )
    add.add_argument("--threads", type=int, default=2, help="of each process, on a CPU; default: %(default)s")
    add.add_argument("--compile", action="store_true", help="compile transformers first (needs a C++ compiler)")


def _add_starts(add: argparse._ArgumentGroup) -> None:
    add.add_argument(
        "--tokenizer", type=user_path, metavar="FILE", help="image tokenizer to keep: ours, or LlamaGen's (VQ-16, VQ-8)"
    )
    add.add_argument(
        "--warm-start",
        type=user_path,
        metavar="FILE",
        help="transformer to start from: ours, LlamaGen's or Tar's; its size is taken over; default: of the target and "
        "the second drafter the first drafter of this --out",
    )
    add.add_argument("--target", type=user_path, metavar="FILE", help="what a head or block drafts for")
