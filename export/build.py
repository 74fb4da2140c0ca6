"""python -m export.build --precision fp16: build a bundle of the demo, of your own or of published models."""

import argparse
import os
import signal
import sys

import torch
from rich.console import Console
from rich.table import Table

from mulo_sd.engines.bundle.contract import PRECISIONS, PUBLISHED_FAMILIES
from mulo_sd.engines.bundle.manifest import Manifest
from mulo_sd.engines.commands.command_line import command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.commands.demo_bundle import bundle_path
from mulo_sd.engines.files.paths import user_path
from mulo_sd.export.build_bundle import build_bundle
from mulo_sd.export.chosen_models import (
    MODEL_NAMES,
    chosen_name,
    load_chosen,
    plan_backends_of,
    request_for,
)
from mulo_sd.export.comparison import ToleranceError
from mulo_sd.export.own_bundle import BuildError, check_place
from mulo_sd.export.place import place_of
from mulo_sd.export.plan_targets import PlanError
from mulo_sd.export.plans import check_can_build
from mulo_sd.reference.weights import WeightsError

BUILD_BACKENDS = ("ort", "trt-rtx", "trt", "torch-cuda")


def _arguments() -> argparse.Namespace:
    parser = command_parser("export.build", __doc__)
    parser.add_argument(
        "--models",
        choices=MODEL_NAMES,
        help="the trained demo or pictograms, or random models on small grids for the conformance suite; default: demo",
    )
    parser.add_argument(
        "--trained", type=user_path, metavar="DIR", help="folder of models that were trained on captioned pictures"
    )
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
    return parser.parse_args()


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


def _print_table(manifest: Manifest, console: Console) -> None:
    table = Table(title=f"{manifest.name}, {manifest.precision}")
    sizes = ("graph", "ONNX MB", "export s", "plan", "plan MB", "build s", "peak GB")
    for column in (*sizes, "largest", "error", "tolerance"):
        table.add_column(column, justify="left" if column in ("graph", "plan") else "right")
    for name, graph in manifest.graphs.items():
        cells = [name, f"{graph.onnx.size_bytes / 1e6:.2f}", f"{graph.build_seconds:.1f}"]
        peak = f"{graph.peak_bytes / 1e9:.1f}" if graph.peak_bytes else "-"
        largest = "-" if graph.largest_activation is None else f"{graph.largest_activation:.4g}"
        error = [peak, largest, f"{graph.measured_error:.2g}", f"{graph.tolerance:g}"]
        plans = [
            (plan.backend, f"{plan.file.size_bytes / 1e6:.2f}", f"{plan.build_seconds:.1f}") for plan in graph.plans
        ]
        table.add_row(*cells, *(plans[0] if plans else ("-", "-", "-")), *error)
        for plan in plans[1:]:
            table.add_row("", "", "", *plan, "", "", "", "")
    console.print(table)
    limit = manifest.graphs[manifest.target.graph].activation_limit
    console.print(f"largest: the largest number in a graph on real inputs; {manifest.precision} ends at {limit:.5g}")


@command
def main() -> int:
    """Build a bundle and print what is in it."""
    arguments = _arguments()
    for stop in (signal.SIGINT, signal.SIGTERM):  # SIGINT too: a background job starts with it ignored
        signal.signal(stop, signal.default_int_handler)
    # Nothing here computes for long, and idle threads that spin slow the exporter down where cores are shared.
    torch.set_num_threads(1)
    console = Console(width=None if sys.stdout.isatty() else 120)
    out = arguments.out
    try:
        out = out or bundle_path(chosen_name(arguments), arguments.precision)
        check_place(place_of(out), arguments.force)
        check_can_build(plan_backends_of(arguments.backend), arguments.compute_capability)
        manifest = build_bundle(request_for(arguments, load_chosen(arguments)), out, arguments.force, console)
    except (BuildError, ToleranceError, PlanError, WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename or out}: cannot write the bundle: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: interrupted; no bundle was written", file=sys.stderr)
        return 130
    _print_table(manifest, console)
    console.print(f"wrote {os.fspath(out)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
