"""The options of the build command. They are read before torch and its exporter are loaded, which takes seconds."""

import argparse

from mulo_sd.engines.bundle.contract import PRECISIONS, PUBLISHED_FAMILIES
from mulo_sd.engines.files.paths import user_path

# Those that the command knows, `export.chosen_models` by name.
MODEL_NAMES = ("demo", "minimal", "minimal-oblong", "minimal-large", "pictograms")
BUILD_BACKENDS = ("ort", "trt-rtx", "trt", "torch-cuda")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add all options."""
    parser.add_argument(
        "--models",
        choices=MODEL_NAMES,
        help="the trained demo or pictograms, or random models on small grids for the conformance suite; default: demo",
    )
    parser.add_argument(
        "--trained", type=user_path, metavar="DIR", help="folder of models that were trained on captioned pictures"
    )
    _add_checkpoint_arguments(parser)
    _add_runtime_arguments(parser)
    parser.add_argument(
        "--out",
        type=user_path,
        help="the bundle's folder; default bundles/NAME-PRECISION, by the name of the models or of their family",
    )
    for name in ("up", "down"):
        parser.add_argument(
            f"--{name}-sampler",
            type=user_path,
            action="append",
            default=[],
            metavar="FILE",
            help=f"weights of a latent {name}-sampler, instead of the shipped one of its ratio; may be repeated",
        )
    parser.add_argument("--all-filters", action="store_true", help="samplers of every resize filter, for comparisons")
    parser.add_argument(
        "--branched",
        action="store_true",
        help="the target once more, for modes that draft rows side by side; known models have it",
    )
    parser.add_argument("--force", action="store_true", help="replace a bundle that is there")


def _add_checkpoint_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what names published checkpoints and what their files do not tell."""
    parser.add_argument("--family", choices=PUBLISHED_FAMILIES, help="build from published checkpoints of this family")
    parser.add_argument("--target", type=user_path, metavar="FILE", help="checkpoint of the highest resolution")
    parser.add_argument(
        "--drafter",
        type=user_path,
        action="append",
        default=[],
        metavar="FILE",
        help="checkpoint of a coarser resolution; may be repeated, descending",
    )
    parser.add_argument("--vq", type=user_path, metavar="FILE", help="the tokenizer's checkpoint")
    parser.add_argument("--ta-tok", type=user_path, metavar="FILE", help="Tar's image tokenizer, for prompts and ids")
    parser.add_argument(
        "--head", type=user_path, metavar="FILE", help="drafting head of the target, as LANTERN trained it"
    )
    parser.add_argument("--semantic-ids", type=int, metavar="N", help="of an image of Tar's: 729 (default), 169 or 81")
    parser.add_argument(
        "--pixels",
        type=_numbers,
        default=(),
        metavar="N,N",
        help="side of the images of target and drafters, where file names do not end in them",
    )


def _add_runtime_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says on which runtimes and GPUs the bundle is to run, and how precisely."""
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of weights and passes; default fp32")
    parser.add_argument(
        "--backend",
        choices=BUILD_BACKENDS,
        action="append",
        help="may be repeated; torch-cuda adds the modules' weights; default: ort (ONNX files, always there) and every "
        "TensorRT that is installed",
    )
    parser.add_argument(
        "--compute-capability",
        action="append",
        default=[],
        metavar="N.N",
        help="of GPUs that trt-rtx builds for, such as 7.5; may be repeated; default: 8.0 and all later ones",
    )


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected numbers such as 512,256, got {text!r:.40}") from None
