"""python -m conformance.study: score, acceptance, NFE and speed of the demo over tau and radius, with controls.

Beside every setting stand two controls: everything accepted (tau 0), and an oracle draft (the
low-resolution tokens of the real scene), which isolates verification and resampling from the drafter.
"""

import argparse
import json
import multiprocessing
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

import engines
from engines.prompts.vocabulary import TASKS
from reference import demo
from reference.demo.evaluate import prompt_holds
from reference.demo.scenes import Scene, held_out_scenes
from reference.images import images_from_pixels
from reference.tokenizer import Tokenizer

matplotlib.use("Agg")
from matplotlib import pyplot

TAUS = (0.02, 0.05, 0.1, 0.2, 0.4)
RADII = (1, 3)


@dataclass(frozen=True)
class Variant:
    """A way to decode: mode, settings that differ from the bundle's, and whose draft."""

    name: str
    mode: engines.Mode
    tau: float | None = None
    radius: int | None = None
    oracle: bool = False


@dataclass(frozen=True)
class Row:
    """One image of one variant."""

    variant: str
    index: int
    task: str
    holds: bool
    acceptance_rate: float
    resampled_rate: float
    nfe_target: int
    nfe_drafter: int
    seconds: float


def controls() -> list[Variant]:
    """Return the baseline and the controls."""
    return [
        Variant("AR", "ar"),
        Variant("everything accepted", "serial", tau=0.0),
        Variant("oracle, everything accepted", "serial", tau=0.0, oracle=True),
        Variant("default", "serial"),
        Variant("oracle, default", "serial", oracle=True),
    ]


def sweep(taus: Iterable[float], radii: Iterable[int]) -> list[Variant]:
    """Return every tau at every radius, with the drafter's draft and with the oracle's."""
    listed = []
    for radius, tau in product(radii, taus):
        listed.append(Variant(f"tau {tau:g}, radius {radius}", "serial", tau, radius))
        listed.append(Variant(f"oracle, tau {tau:g}, radius {radius}", "serial", tau, radius, oracle=True))
    return listed


@torch.inference_mode()
def oracle_draft(tokenizer: Tokenizer, item: Scene, side: int) -> NDArray[np.int64]:
    """Return the low-resolution tokens of a real scene, Int[side, side]."""
    pixels = torch.from_numpy(item.render(side * tokenizer.config.factor))[None]
    draft: NDArray[np.int64] = tokenizer.tokens_from_images(images_from_pixels(pixels))[0].numpy()
    return draft


class _Worker:
    """Draws scenes; one a process."""

    current: "_Worker"

    def __init__(self, bundle: Path, per_task: int, listed: list[Variant]) -> None:
        torch.set_num_threads(1)
        self.pipeline = engines.load(bundle, threads=1)
        self.tokenizer = demo.load().tokenizer
        self.scenes = list(held_out_scenes(per_task))
        self.variants = {item.name: item for item in listed}
        # The first run of each graph prepares it; no image should pay for that.
        for mode in ("ar", "serial"):
            self.pipeline.generate("a circle", mode=mode)

    def draw(self, name: str, index: int) -> Row:
        variant, item = self.variants[name], self.scenes[index]
        side = self.pipeline.bundle.manifest.drafter.grid_height
        result = self.pipeline.generate(
            item.prompt.text,
            seed=index,
            mode=variant.mode,
            plan=item.plan,
            draft=oracle_draft(self.tokenizer, item, side) if variant.oracle else None,
            tau=variant.tau,
            radius=variant.radius,
        )
        holds = prompt_holds(item.prompt, np.asarray(result.image))
        return Row(name, index, item.prompt.task, holds, **asdict(result.stats))


def _start(bundle: Path, per_task: int, listed: list[Variant]) -> None:
    _Worker.current = _Worker(bundle, per_task, listed)


def _draw_all(job: tuple[int, list[str]]) -> list[Row]:
    """Draw one scene in all variants, one after the other, so that their times are comparable."""
    index, names = job
    return [_Worker.current.draw(name, index) for name in names]


def _saved_rows(file: Path) -> list[Row]:
    if not file.exists():
        return []
    return [Row(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines() if line.endswith("}")]


def _new_rows(arguments: argparse.Namespace, listed: list[Variant], done: set[tuple[str, int]]) -> Iterator[Row]:
    always = {item.name for item in controls()}
    jobs = []
    # Round after round of all tasks, so that what a stopped run has drawn is balanced.
    order = sorted(range(len(TASKS) * arguments.per_task), key=lambda index: index % arguments.per_task)
    for index in order:
        swept = index % arguments.per_task < arguments.sweep_per_task
        names = [item.name for item in listed if item.name in always or swept]
        jobs.append((index, [name for name in names if (name, index) not in done]))
    jobs = [job for job in jobs if job[1]]
    context = multiprocessing.get_context("spawn")
    with context.Pool(arguments.workers, _start, (arguments.bundle, arguments.per_task, listed)) as pool:
        for rows in track(pool.imap_unordered(_draw_all, jobs), total=len(jobs), description="drawing"):
            yield from rows


def summarise(rows: list[Row], listed: list[Variant]) -> list[dict[str, Any]]:
    """Return one line a variant; score and speed-up stand beside AR's over the same scenes of the same run."""
    by_variant = {item.name: [row for row in rows if row.variant == item.name] for item in listed}
    ar = {row.index: row for row in by_variant.get("AR", [])}
    lines = []
    for item in listed:
        mine = by_variant[item.name]
        if not mine:
            continue
        beside = [row for row in mine if row.index in ar]  # AR may be left out, or be behind in a stopped run
        tasks = sorted({row.task for row in mine})
        lines.append(
            {
                "variant": item.name,
                "tau": item.tau,
                "radius": item.radius,
                "oracle": item.oracle,
                "images": len(mine),
                "score": mean(row.holds for row in mine),
                "per_task": {task: mean(row.holds for row in mine if row.task == task) for task in tasks},
                "ar_score": mean(ar[row.index].holds for row in beside) if beside else None,
                "acceptance_rate": mean(row.acceptance_rate for row in mine),
                "resampled_rate": mean(row.resampled_rate for row in mine),
                "nfe_target": mean(row.nfe_target for row in mine),
                "nfe_drafter": mean(row.nfe_drafter for row in mine),
                "seconds": mean(row.seconds for row in mine),
                "speed_up": (
                    sum(ar[row.index].seconds for row in beside) / sum(row.seconds for row in beside)
                    if beside
                    else None
                ),
            }
        )
    return lines


def draw_figure(lines: list[dict[str, Any]], path: Path) -> None:
    """Draw speed against quality: a curve of tau for each radius, and the controls."""
    lines = [line for line in lines if line["speed_up"] is not None]
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.2), sharey=True)
    for axis, oracle in zip(axes, (False, True), strict=True):
        for radius in sorted({line["radius"] for line in lines if line["radius"] is not None}):
            curve = [line for line in lines if line["radius"] == radius and line["oracle"] == oracle]
            axis.plot([line["speed_up"] for line in curve], [100 * line["score"] for line in curve], marker="o")
            for line in curve:
                axis.annotate(f"{line['tau']:g}", (line["speed_up"], 100 * line["score"]), fontsize=7)
            axis.lines[-1].set_label(f"radius {radius}, by tau")
        stars = [line for line in lines if line["radius"] is None and (line["oracle"] == oracle)]
        for line in stars:
            axis.scatter(line["speed_up"], 100 * line["score"], marker="*", s=90, label=line["variant"])
        axis.set(title="oracle draft" if oracle else "drafter", xlabel="speed-up over AR, same engines, same run")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    axes[0].set_ylabel("prompts that hold, %")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _print_table(lines: list[dict[str, Any]]) -> None:
    table = Table(title="held-out prompts")
    for column in (
        "variant",
        "images",
        "score",
        "AR there",
        "accepted",
        "resampled",
        "NFE target",
        "NFE drafter",
        "s an image",
        "speed-up",
    ):
        table.add_column(column, justify="left" if column == "variant" else "right")
    for line in lines:
        table.add_row(
            line["variant"],
            str(line["images"]),
            f"{line['score']:.1%}",
            f"{line['ar_score']:.1%}" if line["ar_score"] is not None else "-",
            f"{line['acceptance_rate']:.1%}",
            f"{line['resampled_rate']:.1%}",
            f"{line['nfe_target']:.0f}",
            f"{line['nfe_drafter']:.0f}",
            f"{line['seconds']:.2f}",
            f"{line['speed_up']:.2f}" if line["speed_up"] is not None else "-",
        )
    Console(width=120).print(table)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m conformance.study", description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("bundles/demo-fp32"))
    parser.add_argument("--out", type=Path, required=True, help="folder for rows, summary and figure; resumes there")
    parser.add_argument("--per-task", type=int, default=10, help="held-out prompts of each of the six tasks")
    parser.add_argument("--sweep-per-task", type=int, default=10, help="so many of them for every tau and radius")
    parser.add_argument("--taus", type=float, nargs="*", default=list(TAUS))
    parser.add_argument("--radii", type=int, nargs="*", default=list(RADII))
    parser.add_argument("--only", nargs="*", metavar="VARIANT", help="only these, by the names in the table")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    arguments = parser.parse_args()
    for name in ("per_task", "sweep_per_task", "workers"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name.replace('_', '-')}: expected at least 1, got {getattr(arguments, name)}")
    return arguments


def main() -> int:
    """Draw what is missing, then print the table and write summary.json and speed_quality.png."""
    arguments = _arguments()
    listed = controls() + sweep(arguments.taus, arguments.radii)
    known = [item.name for item in listed]
    unknown = [name for name in arguments.only or [] if name not in known]
    if unknown:
        print(f"error: --only: expected some of {', '.join(known)}; got {unknown[0]!r}", file=sys.stderr)
        return 2
    listed = [item for item in listed if arguments.only is None or item.name in arguments.only]
    try:
        engines.load(arguments.bundle)
    except (engines.BundleError, engines.BackendError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / "rows.jsonl"
    names = {item.name for item in listed}
    rows = [row for row in _saved_rows(file) if row.variant in names]
    with file.open("a", encoding="utf-8") as log:
        for row in _new_rows(arguments, listed, {(row.variant, row.index) for row in rows}):
            rows.append(row)
            log.write(json.dumps(asdict(row)) + "\n")
            log.flush()
    lines = summarise(rows, listed)
    (arguments.out / "summary.json").write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")
    draw_figure(lines, arguments.out / "speed_quality.png")
    _print_table(lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
