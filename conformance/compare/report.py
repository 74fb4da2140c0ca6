"""Writes the comparison: comparison.md with its tables, comparison.csv, and comparison.png."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from mulo_sd.conformance.compare import tables
from mulo_sd.conformance.compare.cost import COSTS_NAME
from mulo_sd.conformance.compare.lines import CompareLine
from mulo_sd.conformance.compare.methods import DRAFTERS
from mulo_sd.conformance.compare.picture import draw_comparison
from mulo_sd.conformance.study.features import FEATURES_NAME
from mulo_sd.conformance.study.report import line_fields
from mulo_sd.engines.files.whole_files import write_bytes_whole

PAGE_NAME, NUMBERS_NAME, PICTURE_NAME = "comparison.md", "comparison.csv", "comparison.png"
REPORT_NAMES = (PAGE_NAME, NUMBERS_NAME, PICTURE_NAME, COSTS_NAME, FEATURES_NAME)
INTRO = """# Tables of the comparison

In brackets: 95% intervals, of seconds quartiles. A row's setting is its authors' (published), or one that was tried on
the demo (found). `passes by layers` are those of all models, each times its layers by the target's: a head has one,
drafters on coarser grids have all. `distance to AR` is `encoder_frechet` to AR's images of the same prompts and seeds,
`other seeds` that to AR's images of the same prompts with other seeds, of which AR's own is the floor; neither is an
FID. `x AR` is AR's seconds by the row's, prompt by prompt of the same run; further weights and memory are what it takes
beside AR's.
"""


def _fields(line: CompareLine) -> dict[str, object]:
    """Return a line of comparison.csv: one number a column, shares in 0..1, bytes and seconds."""
    cost, model = line.cost, line.by_model or {}
    return {
        "row": line.entry.name,
        "method": line.entry.method,
        "kind": line.entry.kind,
        "lossless": line.entry.of.lossless,
        **{name: value for name, value in line_fields(line.figures).items() if name not in ("section", "variant")},
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


def numbers_text(lines: Sequence[CompareLine]) -> str:
    """Return comparison.csv; a figure that is missing is an empty cell."""
    out = io.StringIO()
    rows = [_fields(line) for line in lines]
    writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def page_text(
    lines: Sequence[CompareLine], confirmed: Sequence[CompareLine], short: Mapping[str, int], missing: Sequence[str]
) -> str:
    """Return comparison.md.

    Args:
        lines: Of the table.
        confirmed: Of the table over many prompts; none where that was not drawn.
        short: Prompts of rows that were not drawn over all of the table's.
        missing: Why the bundle cannot draw others.
    """
    parts = [INTRO, f"## The methods\n\n{tables.table_of_methods()}"]
    for title, group in (("The table", lines), ("The best, over many prompts", confirmed)):
        if group:
            makers = (tables.by_passes, tables.by_seconds, tables.every_row, tables.by_task)
            parts.append(f"## {title}: {group[0].figures.images} prompts\n")
            parts += [make(group) for make in makers]
    if short:
        drawn = "".join(f"- {name}: {count}\n" for name, count in short.items())
        parts.append(f"## Not drawn over all prompts\n\n{drawn}")
    if missing:
        parts.append("## Not in this bundle\n\n" + "".join(f"- {line}\n" for line in missing))
    return "\n".join(parts)


def write_report(
    lines: Sequence[CompareLine],
    confirmed: Sequence[CompareLine],
    short: Mapping[str, int],
    missing: Sequence[str],
    folder: Path,
) -> list[Path]:
    """Write the report and return its files; arguments as for `page_text`."""
    contents = {PAGE_NAME: page_text(lines, confirmed, short, missing).encode()}
    if lines:
        contents[NUMBERS_NAME] = numbers_text(lines).encode()
        contents[PICTURE_NAME] = draw_comparison(lines)
    for name, content in contents.items():
        write_bytes_whole(folder / name, content)
    return [folder / name for name in contents]
