"""A bundle from the options of the build command: what it says, and how it ends."""

import argparse
import os
import signal
import sys

import torch
from rich.console import Console
from rich.table import Table

from mulo_sd.engines.bundle.manifest import Manifest
from mulo_sd.engines.commands.demo_bundle import bundle_path
from mulo_sd.export.build_bundle import build_bundle
from mulo_sd.export.chosen_models import chosen_name, load_chosen, plan_backends_of, request_for
from mulo_sd.export.comparison import ToleranceError
from mulo_sd.export.own_bundle import BuildError, check_place
from mulo_sd.export.place import place_of
from mulo_sd.export.plan_targets import PlanError
from mulo_sd.export.plans import check_can_build
from mulo_sd.reference.weights import WeightsError


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


def build_as_asked(arguments: argparse.Namespace) -> int:
    """Build the bundle that options ask for and print what is in it; return the exit status."""
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
