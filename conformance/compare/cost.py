"""What a row costs beside passes: seconds against AR's on the same engine, further weights, and further memory.

Measured apart from the drawing, one image at a time and alone on the machine; a round draws a prompt in every row, in
an order that is shuffled anew.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError

from mulo_sd.conformance.bench.demo_table import Measurements, compare, ratios
from mulo_sd.conformance.bench.floors import processor_name, usable_processors
from mulo_sd.conformance.bench.fresh import fresh_figures
from mulo_sd.conformance.bench.modes import BenchMode
from mulo_sd.conformance.bench.reference_side import held_out_drawings
from mulo_sd.conformance.bench.spread import Spread, spread_of
from mulo_sd.conformance.compare.entries import Entry
from mulo_sd.conformance.compare.methods import AR_METHOD
from mulo_sd.conformance.study.rows import StudyError
from mulo_sd.conformance.worlds.world import World
from mulo_sd.engines.bundle import Manifest
from mulo_sd.engines.files.whole_files import write_bytes_whole
from mulo_sd.engines.service.pipeline import Pipeline

COSTS_NAME = "costs.json"


@dataclass(frozen=True)
class Cost:
    """What a row costs.

    Attributes:
        seconds: Of an image, from the condition to pixels.
        over_ar: AR's seconds by its own, prompt by prompt of the same run.
        extra_weights: Bytes of the graphs that it runs and AR does not.
        extra_memory: Bytes of memory that a fresh process takes at most to draw an image, less AR's.
        backend: Which drew it.
        machine: On which processor, with how many threads.
    """

    seconds: Spread
    over_ar: Spread
    extra_weights: int
    extra_memory: int
    backend: str
    machine: str


_COSTS = TypeAdapter(dict[str, Cost], config=ConfigDict(allow_inf_nan=False))


def read_costs(folder: Path) -> dict[str, Cost]:
    """Return what was measured, by identity; nothing where nothing was.

    Raises:
        StudyError: the file is no such record.
    """
    path = folder / COSTS_NAME
    if not path.exists():
        return {}
    try:
        return _COSTS.validate_json(path.read_bytes())
    except ValidationError:
        raise StudyError(f"{path}: expected costs that --time wrote; move it away and measure again") from None


def write_costs(folder: Path, costs: Mapping[str, Cost]) -> None:
    """Write them, in place of those of the same rows that were there."""
    content = {name: asdict(cost) for name, cost in (read_costs(folder) | dict(costs)).items()}
    write_bytes_whole(folder / COSTS_NAME, (json.dumps(content, indent=1) + "\n").encode())


def extra_weights(graphs: set[str], base: set[str], manifest: Manifest) -> int:
    """Return the bytes of the graphs that run beside AR's; another form of the target's own is none of them.

    Args:
        graphs: That ran.
        base: That AR runs.
        manifest: Of the bundle.
    """
    further = {name for name in graphs - base if not name.startswith(manifest.target.graph)}
    return sum(manifest.graphs[name].onnx.size_bytes for name in further if name in manifest.graphs)


def measure_costs(
    entries: Sequence[Entry],
    identities: Mapping[str, str],
    bundle: Path,
    pipeline: Pipeline,
    world: World,
    rounds: int,
    advance: Callable[[str], None],
) -> dict[str, Cost]:
    """Measure rows beside AR, one image at a time.

    Args:
        entries: AR among them.
        identities: Of the rows, by name.
        bundle: Its folder.
        pipeline: Over it.
        world: That it draws.
        rounds: Each draws a prompt of every task in every row.
        advance: Told what was drawn.

    Returns:
        Costs by identity.
    """
    threads = pipeline.backend.threads or usable_processors()
    machine = f"{processor_name()}, {threads} threads"
    own = pipeline.settings()
    modes = [BenchMode(entry.name, entry.of.title, entry.variant.changes(own)) for entry in entries]
    drawings = held_out_drawings(world, len(world.tasks) * rounds)
    measured = compare(pipeline, modes, drawings, 1, 0, None, None, advance)
    base = measured[AR_METHOD]
    peaks = {}
    for mode in modes:
        figures = fresh_figures(bundle, pipeline.backend.name, threads, world.example, mode.changes)
        peaks[mode.name] = int(figures["peak_bytes"])
        advance(f"memory: {mode.name}")

    def cost_of(own: Measurements, name: str) -> Cost:
        over_ar = ratios(base, own)
        assert over_ar is not None
        return Cost(
            seconds=spread_of(own.seconds),
            over_ar=over_ar,
            extra_weights=extra_weights(own.graphs, base.graphs, pipeline.bundle.manifest),
            extra_memory=peaks[name] - peaks[AR_METHOD],
            backend=pipeline.backend.name,
            machine=machine,
        )

    return {identities[name]: cost_of(own, name) for name, own in measured.items()}
