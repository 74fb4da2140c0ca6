"""A run over a folder of rows: which variants a bundle can decode, drawing what is missing, reading what is there."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mulo_sd import engines
from mulo_sd.conformance.study.distances import Distances
from mulo_sd.conformance.study.draw import draw_jobs, plan_jobs
from mulo_sd.conformance.study.features import features_of
from mulo_sd.conformance.study.rows import Row, RowLog, Scene, StudyError, read_rows
from mulo_sd.conformance.study.summary import Results
from mulo_sd.conformance.study.variant import Variant, identity
from mulo_sd.conformance.worlds.world import World

Identities = dict[tuple[str, str], str]  # of (section, name)


def identities_of(listed: Iterable[Variant], pipeline: engines.Pipeline) -> tuple[Identities, list[str]]:
    """Return the identity of every variant that the bundle can decode, and why it cannot decode the others."""
    identities, missing = {}, []
    for item in listed:
        try:
            identities[item.section, item.name] = identity(item, pipeline)
        except engines.SettingsError as error:
            missing.append(f"{item.section}: {item.name}: {error}")
    return identities, missing


def draw_missing(
    variants: Sequence[Variant],
    identities: Identities,
    folder: Path,
    *,
    bundle: Path,
    world: World,
    per_task: int,
    timing_per_task: int,
    workers: int,
) -> None:
    """Draw what is missing of some variants, each identity once, into a folder that is this run's own.

    Args:
        variants: Those without an identity are left out.
        identities: Of what the bundle can decode.
        folder: Of the rows.
        bundle: Its folder; every worker opens it.
        world: That it draws.
        per_task: Held-out scenes of each task.
        timing_per_task: So many of them are drawn one by one in mode ar; the rest in batches.
        workers: Processes of one thread each.
    """
    listed: dict[str, Variant] = {}
    for item in variants:
        name = identities.get((item.section, item.name))
        if name is not None:
            listed.setdefault(name, item)
    done = {row.key for row in read_rows(folder)}
    jobs = plan_jobs(list(listed.items()), len(world.tasks), per_task, timing_per_task, done)
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(TextColumn("drawing"), *columns) as progress, RowLog(folder) as log:
        bar = progress.add_task("", total=sum(len(job.scenes) for job in jobs))
        if not jobs:
            return
        for rows in draw_jobs(jobs, bundle, world, workers):
            for row in rows:
                log.add(row)
            progress.advance(bar, len(rows))


def read_results(folder: Path, identities: Identities, resamples: int, world: World) -> Results:
    """Return what a folder holds of some variants, with the features of their images.

    Raises:
        StudyError: it holds nothing of them.
        WorldError: the world's models, whose tokenizer the features are of, are not there.
    """
    by_identity: dict[str, dict[Scene, Row]] = {}
    wanted = set(identities.values())
    rows = [row for row in read_rows(folder) if row.identity in wanted]
    if not rows:
        raise StudyError(f"{folder}: expected rows of this bundle's variants, got none; draw some first")
    for row in rows:
        by_identity.setdefault(row.identity, {})[row.scene] = row
    torch.set_num_threads(1)
    features = features_of(rows, world.models().tokenizer, folder)
    return Results(by_identity, Distances(features, resamples), identities, world)
