"""python -m export.build --precision fp16: build a bundle of the demo or of published checkpoints."""

import argparse
import dataclasses
import os
import signal
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import NamedTuple, get_args

import torch
from rich.console import Console
from rich.table import Table

from mulo_sd import engines
from mulo_sd.engines.bundle.contract import PRECISIONS, PUBLISHED_FAMILIES, PlanBackend
from mulo_sd.engines.bundle.manifest import Manifest
from mulo_sd.engines.commands.command_line import command, program, purpose
from mulo_sd.engines.commands.demo_bundle import bundle_path
from mulo_sd.engines.files.paths import user_path
from mulo_sd.export.build_bundle import build_bundle, neighbour_table
from mulo_sd.export.comparison import ToleranceError
from mulo_sd.export.demo_evidence import demo_evidence
from mulo_sd.export.own_bundle import BuildError, check_place
from mulo_sd.export.place import place_of
from mulo_sd.export.plan_targets import PlanError
from mulo_sd.export.plans import check_can_build, is_installed
from mulo_sd.export.precision import TORCH_DTYPES
from mulo_sd.export.published import (
    Files,
    load_published,
    load_ta_tok_of,
    published_evidence,
    published_settings,
)
from mulo_sd.export.request import BuildRequest
from mulo_sd.reference import demo, minimal
from mulo_sd.reference.checkpoints.ta_tok import TATokDecoder
from mulo_sd.reference.demo.models import PRESETS, RECOMMENDED
from mulo_sd.reference.models import Models
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.weights import WeightsError

BUILD_BACKENDS = ("ort", "trt-rtx", "trt", "torch-cuda")


class KnownModels(NamedTuple):
    """Models that the command knows, the settings that their bundle starts from, and its presets."""

    load: Callable[[], Models]
    settings: Settings
    presets: Mapping[str, Settings] = {}


KNOWN_MODELS = {
    "demo": KnownModels(demo.load, RECOMMENDED, PRESETS),
    "minimal": KnownModels(minimal.load, minimal.SETTINGS),
    "minimal-oblong": KnownModels(minimal.load_oblong, minimal.SIBLING_SETTINGS),
    "minimal-large": KnownModels(minimal.load_large, minimal.SIBLING_SETTINGS),
}
# The preset that a bundle with the files of a runtime on a GPU starts from, where there it is: passes cost time there,
# and cells in them little.
GPU_PRESET = "passes"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=program("export.build"), description=purpose(__doc__))
    parser.add_argument(
        "--models",
        choices=tuple(KNOWN_MODELS),
        help="the trained demo, or random models on small grids for the conformance suite; default: demo",
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
        help="the bundle's folder; default bundles/MODELS-PRECISION, or bundles/FAMILY-PRECISION",
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


def _plan_backends(chosen: list[str] | None) -> list[PlanBackend]:
    known: tuple[PlanBackend, ...] = get_args(PlanBackend)
    if chosen is None:
        return [backend for backend in known if is_installed(backend)]
    return [backend for backend in known if backend in chosen]


def _published_files(arguments: argparse.Namespace) -> Files | None:
    """Return the checkpoints that were given; None where the models are known ones.

    Raises:
        WeightsError: some are missing, or options contradict each other.
    """
    needed = (arguments.target, arguments.vq, *arguments.drafter)
    others = (arguments.ta_tok, arguments.head, arguments.semantic_ids, *arguments.pixels)
    if arguments.family is None:
        if any(item is not None for item in (*needed, *others)):
            raise WeightsError(f"family: expected {' or '.join(PUBLISHED_FAMILIES)} beside checkpoints, got none")
        return None
    if arguments.models is not None:
        raise WeightsError(f"models: expected none beside --family {arguments.family}, got {arguments.models}")
    if arguments.target is None or arguments.vq is None:
        raise WeightsError(f"family {arguments.family}: expected --target and --vq, got not both of them")
    return Files(
        arguments.family,
        arguments.target,
        tuple(arguments.drafter),
        arguments.vq,
        pixels=arguments.pixels,
        ta_tok=arguments.ta_tok,
        semantic_ids=arguments.semantic_ids,
        head=arguments.head,
    )


class Loaded(NamedTuple):
    """The models that the options name, the settings and presets of their bundle, and TA-Tok if it is given."""

    models: Models
    settings: Settings
    presets: Mapping[str, Settings]
    ta_tok: TATokDecoder | None


def _load(arguments: argparse.Namespace, name: str) -> Loaded:
    """Load what the options name.

    Raises:
        WeightsError: a file cannot be used, a number is too large for the precision, or options contradict each other.
    """
    files = _published_files(arguments)
    if files is None:
        load, settings, presets = KNOWN_MODELS[name]
        loaded = Loaded(load(), settings, presets, None)
    else:
        dtype = TORCH_DTYPES[arguments.precision]
        models = load_published(files, dtype)
        loaded = Loaded(models, published_settings(models), {}, load_ta_tok_of(files, models, dtype))
    models = demo.with_latent_samplers(loaded.models, arguments.up_sampler, arguments.down_sampler)
    return loaded._replace(models=models)


def request_for(arguments: argparse.Namespace, name: str, loaded: Loaded) -> BuildRequest:
    """Return what to build: a bundle with files of a runtime on a GPU starts from the preset that is made for it."""
    models, table = loaded.models, neighbour_table(loaded.models)
    if arguments.family is None:
        evidence = demo_evidence(models, table)
    else:
        evidence = published_evidence(models, table, loaded.ta_tok)
    presets = {name: engines.Settings(**dataclasses.asdict(value)) for name, value in loaded.presets.items()}
    settings = engines.Settings(**dataclasses.asdict(loaded.settings))
    plan_backends, with_modules = _plan_backends(arguments.backend), "torch-cuda" in (arguments.backend or ())
    return BuildRequest(
        name=f"mulo-sd {name}",
        evidence=evidence,
        settings=presets.get(GPU_PRESET, settings) if plan_backends or with_modules else settings,
        presets=presets,
        precision=arguments.precision,
        family=arguments.family or "demo",
        plan_backends=plan_backends,
        compute_capabilities=tuple(dict.fromkeys(arguments.compute_capability)),
        all_filters=arguments.all_filters,
        with_modules=with_modules,
        consume=arguments.family is not None,
        branched=arguments.branched or arguments.family is None,
    )


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


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@command
def main() -> int:
    """Build a bundle and print what is in it."""
    arguments = _arguments()
    for stop in (signal.SIGINT, signal.SIGTERM):  # SIGINT too: a background job starts with it ignored
        signal.signal(stop, _interrupt)
    # Nothing here computes for long, and idle threads that spin slow the exporter down where cores are shared.
    torch.set_num_threads(1)
    console = Console(width=None if sys.stdout.isatty() else 120)
    name = arguments.family or arguments.models or "demo"
    out = arguments.out or bundle_path(name, arguments.precision)
    try:
        check_place(place_of(out), arguments.force)
        check_can_build(_plan_backends(arguments.backend), arguments.compute_capability)
        manifest = build_bundle(request_for(arguments, name, _load(arguments, name)), out, arguments.force, console)
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
