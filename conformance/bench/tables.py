"""The benchmark's tables on the terminal."""

from collections.abc import Mapping, Sequence

from rich.table import Table

from mulo_sd.conformance.bench.demo_table import ModeRow
from mulo_sd.conformance.bench.floors import Machine
from mulo_sd.conformance.bench.fresh import TARGETS, within_target
from mulo_sd.conformance.bench.method_rows import NOTE as METHODS_NOTE
from mulo_sd.conformance.bench.method_rows import MethodRow
from mulo_sd.conformance.bench.passes import PassRow
from mulo_sd.conformance.bench.shape_rows import NOTE, ShapeRow
from mulo_sd.conformance.bench.spread import Spread
from mulo_sd.conformance.bench.sweep_rows import NOTE as SWEEPS_NOTE
from mulo_sd.conformance.bench.sweep_rows import SweepRow
from mulo_sd.conformance.bench.throughput import ThroughputRow
from mulo_sd.conformance.bench.timed import BUCKET_NAMES

NOTHING = "-"


def _table(title: str, columns: Sequence[str], caption: str | None = None) -> Table:
    table = Table(title=title, caption=caption, caption_justify="left", title_justify="left")
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number else "left", no_wrap=number > 0)
    return table


def _spread(value: Spread | None, digits: int = 2) -> str:
    return NOTHING if value is None else value.text(digits)


def _number(value: float | None, form: str) -> str:
    return NOTHING if value is None else format(value, form)


def _megabytes(value: float | None) -> str:
    return NOTHING if value is None else f"{value / 1e6:.0f}"


def _passes(value: float) -> str:
    return f"{value:.0f}" if value == round(value) else f"{value:.1f}"


def mode_table(rows: Sequence[ModeRow], title: str) -> Table:
    """Return the comparison of modes."""
    table = _table(
        title,
        (
            *("mode", "seconds", "x engine AR", "x eager AR", "passes target", "drafters", "accepted"),
            *("host share", "host ms/step", "peak MB", "score"),
        ),
        "median (quartiles); speed-ups are paired by round; host share: time outside the backend's calls; "
        "peak MB: of a fresh process that draws one image",
    )
    for row in rows:
        host = None if row.host_share is None else f"{row.host_share.median:.1%}"
        table.add_row(
            row.label,
            row.wall.text(),
            _spread(row.over_engine_ar),
            _spread(row.over_eager),
            _passes(row.nfe_target),
            _passes(row.nfe_drafter),
            _number(row.acceptance, ".1%"),
            host or NOTHING,
            NOTHING if row.host_ms is None else f"{row.host_ms.median:.3f}",
            _megabytes(row.peak_bytes),
            _number(row.score, ".0%"),
        )
    return table


def bucket_table(rows: Sequence[ModeRow]) -> Table:
    """Return the mean time of a pass by T in each mode."""
    table = _table("ms a pass by the tokens that it feeds (T), all models", ("mode", *BUCKET_NAMES))
    for row in rows:
        if row.pass_ms:
            table.add_row(row.label, *(_number(row.pass_ms.get(name), ".2f") for name in BUCKET_NAMES))
    return table


def start_table(figures: Mapping[str, Spread]) -> Table:
    """Return the start-up figures with their targets."""
    table = _table("start, in fresh processes", ("figure", "median (quartiles)", "target", "kept"))
    labels = {
        "import": "import engines, s",
        "open": "open the bundle, s",
        "import_and_open": "both, s",
        "first_image": "to the first image, s",
        "peak_bytes": "peak RSS, MB",
    }
    for name, label in labels.items():
        if name not in figures:
            continue
        scale, digits = (1e-6, 0) if name == "peak_bytes" else (1.0, 2)
        value = figures[name]
        shown = Spread(value.median * scale, value.low * scale, value.high * scale, value.count)
        kept = within_target(name, value.median)
        target = f"< {TARGETS[name] * scale:g}" if name in TARGETS else NOTHING
        table.add_row(label, shown.text(digits), target, NOTHING if kept is None else "yes" if kept else "no")
    return table


def machine_table(machine: Machine) -> Table:
    """Return what the machine allows."""
    threads = f", {machine.threads} threads" if machine.threads else ""
    table = _table(f"what the machine allows: {machine.device}{threads}", ("measured", "best"))
    for size, rate in sorted(machine.bandwidths.items()):
        table.add_row(f"bandwidth over {size / 2**20:.0f} MiB", f"{rate / 1e9:.0f} GB/s")
    for precision, rate in machine.rates.items():
        table.add_row(f"products in {precision}", f"{rate / 1e12:.2f} Tflop/s")
    return table


def pass_table(rows: Sequence[PassRow], title: str) -> Table:
    """Return passes against their floors."""
    precision = rows[0].floor.precision
    others = [floor.precision for floor in rows[0].others]
    table = _table(
        title,
        (
            *("T", "slots", "measured ms", f"floor ms ({precision})", "x floor", "binds"),
            *(f"floor at {name}, ms" for name in others),
        ),
        f"the floor takes {precision}, which is what the bundle's tolerance allows; the others show what their bytes "
        "and rates would allow",
    )
    for row in rows:
        table.add_row(
            str(row.size.fed),
            str(row.size.slots),
            f"{1e3 * row.seconds:.3g}",
            f"{1e3 * row.floor.seconds:.3g}",
            f"{row.ratio:.1f}",
            row.floor.binds,
            *(f"{1e3 * floor.seconds:.3g}" for floor in row.others),
        )
    return table


def sweep_table(rows: Sequence[SweepRow], title: str) -> Table:
    """Return what AR by sweeps would take."""
    columns = (
        "rate, of the demo's",
        "width",
        "passes",
        "floor, s",
        "x one token",
        "by measured passes, s",
        "x one token",
    )
    table = _table(title, columns, SWEEPS_NOTE)
    for row in rows:
        table.add_row(
            *(f"{row.share:g}", str(row.width), f"{row.passes:.0f}", f"{row.floor_seconds:.3g}", f"{row.gain:.1f}"),
            *(_number(row.measured_seconds, ".3g"), _number(row.measured_gain, ".1f")),
        )
    return table


def method_table(rows: Sequence[MethodRow], title: str) -> Table:
    """Return what methods would take at declared tokens a pass."""
    columns = (
        *("method", "of the demo's", "tokens a pass", "fed a pass", "passes", "floor, s", "x one token"),
        *("by measured passes, s", "x one token", "of which the rule, s"),
    )
    table = _table(title, columns, METHODS_NOTE)
    for row in rows:
        tokens = 1 + row.share * (row.declared.tokens - 1)
        table.add_row(
            *(row.declared.label, f"{row.share:g}", f"{tokens:.2f}", str(row.declared.fed), f"{row.passes:.0f}"),
            *(f"{row.floor_seconds:.3g}", f"{row.gain:.1f}", _number(row.measured_seconds, ".3g")),
            *(_number(row.measured_gain, ".1f"), f"{row.rule_seconds:.2g}"),
        )
    return table


def throughput_table(rows: Sequence[ThroughputRow], title: str) -> Table:
    """Return images a second by how many are drawn at once."""
    table = _table(
        title, ("mode", "at once", "images", "seconds", "images/s", "x one at a time", "passes", "their own")
    )
    for row in rows:
        table.add_row(
            *(row.label, str(row.size), str(row.images), f"{row.seconds:.2f}", f"{row.per_second:.2f}"),
            *(f"{row.over_one:.2f}", str(row.passes), str(row.own_passes)),
        )
    return table


def shape_line(row: ShapeRow) -> str:
    """Return a row in one line, for when it is known."""
    rate = "" if row.acceptance is None else f" at acceptance {row.acceptance:g}"
    over = "" if row.over_engine_ar is None else f", {row.over_engine_ar:.2f} x engine AR"
    over += "" if row.over_eager is None else f", {row.over_eager:.2f} x eager AR"
    return f"{row.label}{rate}: {row.seconds.text()} s, passes {row.nfe_target} + {row.nfe_drafter}{over}"


def shape_table(rows: Sequence[ShapeRow], title: str) -> Table:
    """Return a shape's table."""
    table = _table(
        title,
        (
            *("mode", "drafters", "acceptance", "seconds", "x engine AR", "x eager AR", "passes target", "drafters'"),
            *("host share", "host ms/step", "device MB"),
        ),
        NOTE,
    )
    for row in rows:
        table.add_row(
            row.label,
            ",".join(map(str, row.drafters)) or NOTHING,
            _number(row.acceptance, "g"),
            row.seconds.text(),
            _number(row.over_engine_ar, ".2f"),
            _number(row.over_eager, ".2f"),
            str(row.nfe_target),
            str(row.nfe_drafter),
            _number(row.host_share, ".1%"),
            _number(row.host_ms, ".3f"),
            _megabytes(row.peak_bytes),
        )
    return table
