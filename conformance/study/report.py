"""Writes the study's report: results.csv, tables.md, claims.md and a picture a section."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from mulo_sd.conformance.study.claim import Claim
from mulo_sd.conformance.study.claims import claims_of
from mulo_sd.conformance.study.confirm import SECTION
from mulo_sd.conformance.study.features import FEATURES_NAME
from mulo_sd.conformance.study.figures import draw_section
from mulo_sd.conformance.study.statistics import Estimate
from mulo_sd.conformance.study.summary import Line, Results, lines_of_section
from mulo_sd.conformance.study.variant import Variant
from mulo_sd.conformance.worlds.world import World
from mulo_sd.engines.files.whole_files import write_bytes_whole

TEXTS = ("results.csv", "tables.md", "claims.md")
COLUMNS = (
    "variant",
    "score %",
    "less AR",
    "encoder_frechet",
    "unpaired",
    "accepted %",
    "resampled %",
    "AR's image %",
    "NFE target",
    "NFE drafter",
    "NFE",
    "s an image",
    "speed-up",
)


def _estimate_fields(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    values = (None, None, None) if estimate is None else (estimate.value, estimate.low, estimate.high)
    return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))


def line_fields(line: Line, tasks: Sequence[str]) -> dict[str, object]:
    """Return a line of results.csv: one number a column, shares in 0..1.

    Args:
        line: The figures.
        tasks: Of the world, a column each.
    """
    return {
        "section": line.section,
        "variant": line.variant,
        "images": line.images,
        **_estimate_fields("score", line.score),
        "ar_score": line.ar_score,
        **_estimate_fields("score_difference", line.score_difference),
        **_estimate_fields("encoder_frechet", line.encoder_frechet),
        **_estimate_fields("encoder_frechet_unpaired", line.encoder_frechet_unpaired),
        "acceptance_rate": line.acceptance_rate,
        "resampled_rate": line.resampled_rate,
        "nfe_target": line.nfe_target,
        "nfe_drafter": line.nfe_drafter,
        "nfe": line.nfe,
        "cycles": line.cycles,
        "seconds": line.seconds,
        "speed_up": line.speed_up,
        "timed": line.timed,
        **{f"score_{task}": line.per_task.get(task) for task in tasks},
        "equal_images": line.equal_images,
    }


def csv_text(lines: Sequence[Line], tasks: Sequence[str]) -> str:
    """Return results.csv; a figure that is missing is an empty cell."""
    out = io.StringIO()
    rows = [line_fields(line, tasks) for line in lines]
    writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def interval(estimate: Estimate | None, scale: float, digits: int, sign: str = "") -> str:
    """Return a number with its 95% interval in brackets, both times a scale; "-" where it is missing."""
    if estimate is None:
        return "-"
    value, low, high = (scale * part for part in (estimate.value, estimate.low, estimate.high))
    return f"{value:{sign}.{digits}f} ({low:{sign}.{digits}f} to {high:{sign}.{digits}f})"


def _cells(line: Line) -> Iterable[str]:
    return (
        line.variant,
        interval(line.score, 100, 1),
        interval(line.score_difference, 100, 1, "+"),
        interval(line.encoder_frechet, 1, 3),
        interval(line.encoder_frechet_unpaired, 1, 3),
        f"{100 * line.acceptance_rate:.1f}",
        f"{100 * line.resampled_rate:.1f}",
        "-" if line.equal_images is None else f"{100 * line.equal_images:.0f}",
        f"{line.nfe_target:.1f}",
        f"{line.nfe_drafter:.1f}",
        f"{line.nfe:.1f}",
        "-" if line.seconds is None else f"{line.seconds:.2f}",
        "-" if line.speed_up is None else f"{line.speed_up:.2f} ({line.timed})",
    )


def markdown(header: Sequence[str], rows: Iterable[Iterable[str]], right: bool = True) -> str:
    """Return a table in Markdown.

    Args:
        header: Names of the columns.
        rows: Cells.
        right: Whether all columns but the first are aligned to the right, as numbers are.
    """
    rule = "|---:" if right else "|---"
    lines = ["| " + " | ".join(header) + " |", "|---" + rule * (len(header) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def table_text(lines: Sequence[Line]) -> str:
    """Return a section of tables.md."""
    table = markdown(COLUMNS, (_cells(line) for line in lines))
    return f"## {lines[0].section}\n\nOver {lines[0].images} prompts that every line has.\n\n{table}\n"


def per_task_text(lines: Sequence[Line], tasks: Sequence[str]) -> str:
    """Return the table of scores by task, in percent."""
    rows = (
        (line.variant, *(f"{100 * line.per_task[task]:.1f}" if task in line.per_task else "-" for task in tasks))
        for line in lines
    )
    return f"### Score by task, %\n\n{markdown(('variant', *tasks), rows)}\n"


def claims_text(claims: Sequence[Claim], world: World) -> str:
    """Return claims.md."""
    parts = [
        f"## {claim.verdict}: {claim.text}\n\n" + "\n".join(f"- {fact}" for fact in claim.facts) for claim in claims
    ]
    return f"# Claims on {world.title}\n\n" + "\n\n".join(parts) + "\n"


def report_names(sections: Sequence[str]) -> list[str]:
    """Return the names of all files that reports of some sections can have, the confirmation's among them."""
    return [*TEXTS, FEATURES_NAME, *(f"{section}.png" for section in (*sections, SECTION))]


def write_report(listed: Sequence[Variant], results: Results, missing: Sequence[str], folder: Path) -> list[Path]:
    """Write the report of everything that was drawn and return its files."""
    tables, every_line, written = [], [], []
    world = results.world
    for section in dict.fromkeys(item.section for item in listed):
        lines = lines_of_section([item for item in listed if item.section == section], results)
        if not lines:
            continue
        every_line += lines
        tables.append(
            table_text(lines) + ("\n" + per_task_text(lines, world.tasks) if section in ("controls", SECTION) else "")
        )
        written.append(folder / f"{section}.png")
        write_bytes_whole(written[-1], draw_section(lines, world.title))
    intro = (
        f"# Tables of {world.title}\n\n"
        "In brackets: 95% intervals, and with speed-ups the number of prompts timed for both. "
        "`encoder_frechet` is the distance to AR's images of the same prompts and seeds, `unpaired` that to "
        "AR's images of the same prompts with other seeds (AR's own is the floor); neither is an FID.\n"
    )
    absent = [f"- {line}\n" for line in missing]
    tables += ["## Not in this bundle\n\n" + "".join(absent)] if absent else []
    texts = (
        csv_text(every_line, world.tasks) if every_line else "",
        "\n".join([intro, *tables]),
        claims_text(claims_of(results), world),
    )
    for name, text in zip(TEXTS, texts, strict=True):
        write_bytes_whole(folder / name, text.encode())
        written.append(folder / name)
    return written
