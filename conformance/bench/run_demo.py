"""The run over a bundle: modes, starts and floors, as the command asks for them; and the regression check."""

import argparse
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from mulo_sd.conformance.bench import check, figures, tables
from mulo_sd.conformance.bench.demo_table import Eager, compare, mode_rows
from mulo_sd.conformance.bench.errors import BenchError
from mulo_sd.conformance.bench.floors import BYTES, Machine, measure_cpu, model_size
from mulo_sd.conformance.bench.fresh import STARTS, fresh_figures, start_up
from mulo_sd.conformance.bench.modes import EAGER, MODE_NAMES, BenchMode, modes_of
from mulo_sd.conformance.bench.passes import pass_rows
from mulo_sd.conformance.bench.record import RECORD_NAME, Record
from mulo_sd.conformance.bench.throughput import QUICK_SIZES, SIZES, ThroughputRow, throughput
from mulo_sd.conformance.bench.timed import timer_seconds_per_call
from mulo_sd.conformance.bench.workload import Drawing, random_condition
from mulo_sd.conformance.worlds.choice import world_of
from mulo_sd.conformance.worlds.world import World, WorldError
from mulo_sd.engines.commands.demo_bundle import ready_bundle
from mulo_sd.engines.service.load import load
from mulo_sd.engines.service.pipeline import Pipeline

# Makes a progress bar of so many steps, None where they are not known; called with what each step does.
MakeProgress = Callable[[int | None], AbstractContextManager[Callable[[str], None]]]
# Backends whose passes run on the processor, so that its floors are theirs.
CPU_BACKENDS = ("ort",)


def _open(arguments: argparse.Namespace, console: Console, threads: int | None) -> tuple[Path, Pipeline]:
    path = ready_bundle(arguments.bundle, arguments.backend, console.print)
    return path, load(path, arguments.backend, threads)


def _drawings(pipeline: Pipeline, world: World | None, count: int) -> list[Drawing]:
    """Return what is drawn: the world's held-out prompts, a bundle's own examples, or random conditions."""
    if world is not None:
        from mulo_sd.conformance.bench.reference_side import held_out_drawings

        return held_out_drawings(world, count)
    examples = pipeline.bundle.manifest.example_prompts
    if examples:
        return [Drawing(examples[number % len(examples)], number) for number in range(count)]
    target = pipeline.bundle.manifest.target
    return [Drawing("", number, condition=random_condition(target, number)) for number in range(count)]


def _is_shipped(pipeline: Pipeline, world: World | None) -> bool:
    """Whether the reference has the bundle's weights, so that it can be compared and its images mean something."""
    if world is None:
        return False
    from mulo_sd.conformance.bench.reference_side import shipped_weights

    try:
        return pipeline.bundle.manifest.target.weights_sha256 == shipped_weights(world)
    except WorldError:
        return False


def _judge(world: World) -> Callable[[Drawing, NDArray[np.uint8]], bool]:
    return lambda drawing, pixels: world.holds(drawing.text, pixels)


def run_demo(arguments: argparse.Namespace, console: Console, progress: MakeProgress) -> None:
    """Compare a bundle's modes; print the tables and write record and figures.

    Raises:
        BenchError: the bundle allows none of the modes.
    """
    path, pipeline = _open(arguments, console, arguments.threads)
    manifest = pipeline.bundle.manifest
    chosen = list(arguments.modes or MODE_NAMES)
    modes = modes_of(len(manifest.models) - 1, chosen)
    world = world_of(pipeline.bundle)
    shipped = world if _is_shipped(pipeline, world) else None
    with_eager = shipped is not None and EAGER in chosen
    if not modes and not with_eager:
        raise BenchError(f"--modes: expected one that {path} allows, got {', '.join(chosen)}")
    count, repeat = arguments.prompts, arguments.repeat
    drawings = _drawings(pipeline, world, count)
    record = Record(arguments.out, sys.argv[1:], ("modes.png", "throughput.png", "passes.png"))
    bundle = {"name": manifest.name, "precision": manifest.precision, "backend": arguments.backend}
    record.set("bundle", bundle | {"threads": arguments.threads, "prompts": count, "repeat": repeat})
    record.set("timer_seconds_per_call", timer_seconds_per_call())
    eager: Eager | None = None
    holds = None
    if shipped is not None:
        from mulo_sd.conformance.bench.reference_side import EagerReference

        holds = _judge(shipped)
        eager = EagerReference(shipped, pipeline, arguments.threads) if with_eager else None
    images = (1 + repeat * count) * (len(modes) + (eager is not None))
    with progress(images) as advance:
        measured = compare(pipeline, modes, drawings, repeat, arguments.seed, eager, holds, advance)
    prompt = drawings[0].text or None if world is None else world.example
    with progress(len(modes)) as advance:
        for mode in modes:
            figures_of_mode = fresh_figures(path, arguments.backend, arguments.threads, prompt, mode.changes)
            measured[mode.name].peak_bytes = figures_of_mode["peak_bytes"]
            advance(f"memory: {mode.label}")

    rows = mode_rows(measured, modes, lambda mode: pipeline.settings(**mode.changes))
    title = f"{manifest.name} in {manifest.precision} on {arguments.backend}: prompts {count}, repetitions {repeat}"
    record.set("modes", [row.to_json() for row in rows])
    written = [record.write_figure("modes.png", figures.draw_modes(rows, title))]
    console.print(tables.mode_table(rows, title))
    console.print(tables.bucket_table(rows))
    written.append(_throughput(arguments, pipeline, drawings, record, console, progress))
    with progress(1) as advance:
        starts = start_up(path, arguments.backend, arguments.threads, prompt, 1 if arguments.quick else STARTS)
        advance("starts")
    record.set("start", {name: value.to_json() for name, value in starts.items()})
    console.print(tables.start_table(starts))
    if arguments.backend in CPU_BACKENDS:
        written.append(_floors(arguments, pipeline, record, console, progress))
    for file in (*written, arguments.out / RECORD_NAME):
        console.print(str(file), highlight=False, soft_wrap=True)


def _throughput(
    arguments: argparse.Namespace,
    pipeline: Pipeline,
    drawings: list[Drawing],
    record: Record,
    console: Console,
    progress: MakeProgress,
) -> Path:
    """Draw several at once, autoregressively and as the bundle does; return the figure."""
    manifest, sizes = pipeline.bundle.manifest, QUICK_SIZES if arguments.quick else SIZES
    own = BenchMode("own", f"the bundle's own: {manifest.settings.mode}")
    several = [replace(drawings[number % len(drawings)], seed=number) for number in range(max(sizes))]
    rows: list[ThroughputRow] = []
    with progress(None) as advance:
        for mode in (*modes_of(0, [name for name in arguments.modes or ["ar"] if name == "ar"]), own):
            advance(f"several at once: {mode.label}")
            for row in throughput(pipeline, mode, several, sizes):
                rows.append(row)
                record.append(row.to_json(), "throughput")
    title = f"images at once: {manifest.name} in {manifest.precision} on {arguments.backend}"
    console.print(tables.throughput_table(rows, title))
    return record.write_figure("throughput.png", figures.draw_throughput(rows, title))


def _floors(
    arguments: argparse.Namespace, pipeline: Pipeline, record: Record, console: Console, progress: MakeProgress
) -> Path:
    """Measure the machine and passes of the target against it; return the figure."""
    from mulo_sd.conformance.bench.torch_rates import cpu_rates

    manifest = pipeline.bundle.manifest
    with progress(None) as advance:
        advance("what the machine allows")
        weights = model_size(manifest.target).linear_weights * BYTES[manifest.precision]
        machine: Machine = measure_cpu(weights, arguments.threads, cpu_rates(arguments.threads))
        record.set("machine", machine.to_json())
        # A processor without kernels for the bundle's precision computes in float32.
        precision = manifest.precision if manifest.precision in machine.rates else "fp32"
        rows = []
        for row in pass_rows(
            *(pipeline.backend, manifest.target, machine, precision),
            batch=1 if manifest.settings.guidance_scale == 1 else 2,
            budget=0.2 if arguments.quick else 0.5,
        ):
            rows.append(row)
            record.append(row.to_json(), "passes")
            advance(f"passes, T = {row.size.fed}")
    title = f"passes of the target against their floors: {manifest.name} in {manifest.precision}, {machine.device}"
    console.print(tables.machine_table(machine))
    console.print(tables.pass_table(rows, title))
    return record.write_figure("passes.png", figures.draw_passes(rows, title))


def run_check(arguments: argparse.Namespace, console: Console, progress: MakeProgress) -> None:
    """Compare a short run with what is expected, or write what is.

    Raises:
        BenchError: something moved; the message names it.
    """
    expected = check.read_expected(arguments.check) if arguments.check is not None else None
    _, pipeline = _open(arguments, console, arguments.threads or check.THREADS)
    if expected is not None:
        check.check_bundle(pipeline, expected, arguments.check)
    names = list(expected.modes) if expected else arguments.modes
    count = expected.prompts if expected else arguments.prompts or check.PROMPTS
    with progress(None) as advance:
        measured = check.measure(pipeline, _drawings(pipeline, world_of(pipeline.bundle), count), names, advance)
    if expected is None:
        if not measured:
            raise BenchError("--modes: expected one that the bundle allows")
        check.record_expected(pipeline, measured, arguments.record)
        console.print(f"{arguments.record}: {len(measured)} modes, {count} prompts", highlight=False, soft_wrap=True)
        return
    moved = check.compared(measured, expected)
    if moved:
        raise BenchError(f"{arguments.check}: moved: {'; '.join(moved)}")
    console.print(f"{arguments.check}: {len(measured)} modes as expected", highlight=False, soft_wrap=True)
