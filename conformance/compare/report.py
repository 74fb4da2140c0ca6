"""Writes the comparison: comparison.md with its tables, comparison.csv, and comparison.png."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mulo_sd.conformance.compare import tables
from mulo_sd.conformance.compare.cost import COSTS_NAME
from mulo_sd.conformance.compare.lines import CompareLine
from mulo_sd.conformance.compare.methods import DRAFTERS
from mulo_sd.conformance.compare.picture import draw_comparison
from mulo_sd.conformance.study.features import FEATURES_NAME
from mulo_sd.conformance.study.report import line_fields
from mulo_sd.conformance.worlds.world import World
from mulo_sd.engines.files.whole_files import write_bytes_whole

PAGE_NAME, NUMBERS_NAME, PICTURE_NAME = "comparison.md", "comparison.csv", "comparison.png"
REPORT_NAMES = (PAGE_NAME, NUMBERS_NAME, PICTURE_NAME, COSTS_NAME, FEATURES_NAME)
INTRO = """\
In brackets: 95% intervals, of seconds quartiles. A row's setting is its authors' (published), or one that was tried on
the demo (found). `passes by layers` are those of all models, each times its layers by the target's: a head has one,
drafters on coarser grids have all. `distance to AR` is `encoder_frechet` to AR's images of the same prompts and seeds,
`other seeds` that to AR's images of the same prompts with other seeds, of which AR's own is the floor; neither is an
FID. `x AR` is AR's seconds by the row's, prompt by prompt of the same run; further weights and memory are what it takes
beside AR's.
"""


def _fields(line: CompareLine, tasks: Sequence[str]) -> dict[str, object]:
    """Return a line of comparison.csv: one number a column, shares in 0..1, bytes and seconds."""
    cost, model = line.cost, line.by_model or {}
    figures = line_fields(line.figures, tasks)
    del figures["section"], figures["variant"]
    return {
        "row": line.entry.name,
        "method": line.entry.method,
        "kind": line.entry.kind,
        "lossless": line.entry.of.lossless,
        **figures,
        "tokens_a_pass": line.tokens_a_pass,
        "fed_a_pass": line.fed_a_pass,
        "nfe_by_layers": line.weighed,
        **{f"nfe_{name}": model.get(number) for number, name in DRAFTERS.items()},
        "timed_seconds": None if cost is None else cost.seconds.median,
        "timed_over_ar": None if cost is None else cost.over_ar.median,
        "timed_over_ar_low": None if cost is None else cost.over_ar.low,
        "timed_over_ar_high": None if cost is None else cost.over_ar.high,
        "extra_weights_bytes": None if cost is None else cost.extra_weights,
        "extra_memory_bytes": None if cost is None else cost.extra_memory,
    }


def numbers_text(lines: Sequence[CompareLine], tasks: Sequence[str]) -> str:
    """Return comparison.csv; a figure that is missing is an empty cell."""
    out = io.StringIO()
    rows = [_fields(line, tasks) for line in lines]
    writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


@dataclass(frozen=True)
class Report:
    """What a report tells.

    Attributes:
        world: Whose prompts were drawn.
        lines: Of the table.
        confirmed: Of the table over many prompts; none where that was not drawn.
        short: Prompts of rows that were not drawn over all of the table's.
        missing: Why the bundle cannot draw others.
    """

    world: World
    lines: Sequence[CompareLine]
    confirmed: Sequence[CompareLine]
    short: Mapping[str, int]
    missing: Sequence[str]


def page_text(report: Report) -> str:
    """Return comparison.md."""
    heading = f"# Tables of the comparison on {report.world.title}\n"
    parts = [heading, INTRO, f"## The methods\n\n{tables.table_of_methods()}"]
    for title, group in (("The table", report.lines), ("The best, over many prompts", report.confirmed)):
        if group:
            makers = (tables.by_passes, tables.by_seconds, tables.every_row)
            parts.append(f"## {title}: {group[0].figures.images} prompts\n")
            parts += [*(make(group) for make in makers), tables.by_task(group, report.world.tasks)]
    if report.short:
        drawn = "".join(f"- {name}: {count}\n" for name, count in report.short.items())
        parts.append(f"## Not drawn over all prompts\n\n{drawn}")
    if report.missing:
        parts.append("## Not in this bundle\n\n" + "".join(f"- {line}\n" for line in report.missing))
    return "\n".join(parts)


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write the report and return its files."""
    contents = {PAGE_NAME: page_text(report).encode()}
    if report.lines:
        contents[NUMBERS_NAME] = numbers_text(report.lines, report.world.tasks).encode()
        contents[PICTURE_NAME] = draw_comparison(report.lines, report.world.title)
    for name, content in contents.items():
        write_bytes_whole(folder / name, content)
    return [folder / name for name in contents]
