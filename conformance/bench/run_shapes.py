"""The run over published shapes, as the command asks for it; what is known is printed and written at once."""

import argparse
import sys
from typing import Any

from rich.console import Console

from mulo_sd.conformance.bench import figures, shapes, tables
from mulo_sd.conformance.bench.declared import AS_ON_THE_DEMO, with_tokens
from mulo_sd.conformance.bench.defaults import ACCEPTANCES
from mulo_sd.conformance.bench.floors import BYTES, Machine, ModelSize, measure_cpu
from mulo_sd.conformance.bench.method_rows import method_rows
from mulo_sd.conformance.bench.passes import PassRow
from mulo_sd.conformance.bench.record import RECORD_NAME, Record
from mulo_sd.conformance.bench.replay import CORRELATION_LENGTH
from mulo_sd.conformance.bench.run_demo import MakeProgress
from mulo_sd.conformance.bench.shape_rows import NOTE, ShapeOptions, ShapeRow
from mulo_sd.conformance.bench.shape_table import run_shape
from mulo_sd.conformance.bench.sweep_rows import sweep_rows
from mulo_sd.conformance.bench.torch_rates import cpu_rates, measure_cuda


def _options(arguments: argparse.Namespace) -> ShapeOptions:
    device = arguments.device or "cuda"
    return ShapeOptions(
        device=device,
        precision=arguments.precision or "bf16",
        kernels=arguments.kernels or ("triton" if device.startswith("cuda") else "torch"),
        acceptances=tuple(arguments.acceptance or ACCEPTANCES),
        correlation_length=CORRELATION_LENGTH if arguments.correlation is None else arguments.correlation,
        repeat=arguments.repeat,
        seed=arguments.seed,
        modes=arguments.modes,
        quick=arguments.quick,
        tokens=dict(arguments.tokens or ()),
    )


def _machine(options: ShapeOptions, threads: int | None, first: shapes.Shape) -> Machine:
    if options.device.startswith("cuda"):
        return measure_cuda(options.device)
    target = first.models[0]
    size = ModelSize(target.layers, target.dim, target.hidden, target.vocabulary).linear_weights
    return measure_cpu(size * BYTES[options.precision], threads, cpu_rates(threads))


def run_shapes(arguments: argparse.Namespace, console: Console, progress: MakeProgress) -> None:
    """Measure shapes one after the other.

    Raises:
        BenchError: an unknown shape, no backend, or a device that cannot be used or is full.
    """
    options = _options(arguments)
    chosen = [shapes.shape_of(name) for name in arguments.shape]
    shapes.check_device(options.device)
    shapes.torch_backend_class()
    pictures = [f"{shape.name}{kind}.png" for shape in chosen for kind in ("", "-passes")]
    record = Record(arguments.out, sys.argv[1:], pictures)
    with progress(None) as advance:
        advance("what the machine allows")
        machine = _machine(options, arguments.threads, chosen[0])
    record.set("machine", machine.to_json())
    console.print(tables.machine_table(machine))
    for shape in chosen:
        _one(shape, options, machine, record, console, progress)
    console.print(str(arguments.out / RECORD_NAME), highlight=False, soft_wrap=True)


def _one(
    shape: shapes.Shape,
    options: ShapeOptions,
    machine: Machine,
    record: Record,
    console: Console,
    progress: MakeProgress,
) -> None:
    passes: list[PassRow] = []
    rows: list[ShapeRow] = []
    title = f"{shape.label} in {options.precision} on {machine.device}"
    about: dict[str, Any] = {"label": shape.label, "note": NOTE, "options": vars(options)}
    about |= {name: [] for name in ("passes", "sweeps", "methods", "rows")}
    record.content.setdefault("shapes", {})[shape.name] = about

    def tell_pass(row: PassRow) -> None:
        passes.append(row)
        record.append(row.to_json(), "shapes", shape.name, "passes")
        size, floor = row.size, row.floor
        console.print(
            f"{shape.name}: pass of {size.fed} at {size.slots} slots: {1e3 * row.seconds:.3g} ms, "
            f"floor {1e3 * floor.seconds:.3g} ms ({floor.binds}), {row.ratio:.1f} x",
            highlight=False,
        )

    def tell_row(row: ShapeRow) -> None:
        rows.append(row)
        record.append(row.to_json(), "shapes", shape.name, "rows")
        console.print(f"{shape.name}: {tables.shape_line(row)}", highlight=False)

    with progress(None) as advance:
        run_shape(shape.name, options, machine, advance, tell_pass, tell_row)
    console.print(tables.pass_table(passes, f"passes of the target against their floors: {title}"))
    record.write_figure(f"{shape.name}-passes.png", figures.draw_passes(passes, title))
    _sweeps(shape, options, machine, passes, record, console)
    _methods(shape, options, machine, passes, record, console)
    if rows:
        console.print(tables.shape_table(rows, title))
        record.write_figure(f"{shape.name}.png", figures.draw_shape(rows, title))


def _sweeps(
    shape: shapes.Shape,
    options: ShapeOptions,
    machine: Machine,
    passes: list[PassRow],
    record: Record,
    console: Console,
) -> None:
    """Say what AR by sweeps would take at declared rates of guesses that come true."""
    target = shape.models[0]
    rows = sweep_rows(
        ModelSize(target.layers, target.dim, target.hidden, target.vocabulary),
        cells=target.grid_height * target.grid_width,
        prefix=target.prefix_length,
        batch=passes[0].size.batch,
        machine=machine,
        precision=options.precision,
        measured=passes,
    )
    for row in rows:
        record.append(row.to_json(), "shapes", shape.name, "sweeps")
    if rows:
        console.print(
            tables.sweep_table(rows, f"AR by sweeps: {shape.label} in {options.precision} on {machine.device}")
        )


def _methods(
    shape: shapes.Shape,
    options: ShapeOptions,
    machine: Machine,
    passes: list[PassRow],
    record: Record,
    console: Console,
) -> None:
    """Say what methods that judge drafts pass by pass would take at declared tokens a pass."""
    target = shape.models[0]
    rows = method_rows(
        with_tokens(AS_ON_THE_DEMO, options.tokens),
        ModelSize(target.layers, target.dim, target.hidden, target.vocabulary),
        cells=target.grid_height * target.grid_width,
        prefix=target.prefix_length,
        batch=passes[0].size.batch,
        machine=machine,
        precision=options.precision,
        measured=passes,
    )
    for row in rows:
        record.append(row.to_json(), "shapes", shape.name, "methods")
    if rows:
        console.print(
            tables.method_table(rows, f"other methods: {shape.label} in {options.precision} on {machine.device}")
        )
