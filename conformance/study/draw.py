"""Draws what is missing: a job is one image, or a batch of autoregressive ones; workers of one thread each.

Prompt and seed depend on the task and the scene's number only, so more prompts can be added to a folder later.
"""

import multiprocessing
import signal
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mulo_sd import engines
from mulo_sd.conformance.study.rows import Row, Scene, StudyError, pack_tokens
from mulo_sd.conformance.study.variant import Variant, identity
from mulo_sd.conformance.study.variants import AR, OTHER_SEEDS
from mulo_sd.conformance.worlds.choice import world_named
from mulo_sd.conformance.worlds.world import HeldOut, World
from mulo_sd.engines.rules.trace import Pass
from mulo_sd.reference.batch import decode_batch
from mulo_sd.reference.images import images_from_pixels
from mulo_sd.reference.tokenizer import ImageTokenizer
from mulo_sd.reference.weights import weights_sha256

BATCH = 40
OTHER_SEEDS_FIRST = 10**6


@dataclass(frozen=True)
class Job:
    """Scenes of one variant to draw together; more than one only where AR is drawn in a batch."""

    variant: Variant
    scenes: tuple[Scene, ...]
    batched: bool = False


def seed_of(drawn: HeldOut, item: Variant) -> int:
    """Return the seed of a prompt: one and the same for all variants, but for the noise floor."""
    return drawn.seed + (OTHER_SEEDS_FIRST if item.other_seeds else 0)


def _fed(item: Pass) -> int:
    """Return the tokens that a pass fed, the nodes of a tree of drafts among them."""
    return len(item.positions) + sum(len(tree.tokens) for tree in item.trees)


def figures_of(result: engines.Result) -> dict[str, Any]:
    """Return what a row keeps of a decode's figures, by the row's names and no others: an engine may tell more."""
    stats, passes = result.stats, result.trace.passes
    return {
        "acceptance_rate": stats.acceptance_rate,
        "resampled_rate": stats.resampled_rate,
        "nfe_target": stats.nfe_target,
        "nfe_drafter": stats.nfe_drafter,
        "cycles": stats.cycles,
        "seconds": stats.seconds,
        "nfe_by_model": dict(Counter(str(item.model) for item in passes)),
        "fed_target": sum(_fed(item) for item in passes if item.model == 0),
    }


@torch.inference_mode()
def oracle_draft(tokenizer: ImageTokenizer, item: HeldOut, side: int) -> NDArray[np.int64]:
    """Return the low-resolution tokens of a real scene, Int[side, side]."""
    pixels = torch.from_numpy(item.render(side * tokenizer.config.factor))[None]
    draft: NDArray[np.int64] = tokenizer.tokens_from_images(images_from_pixels(pixels))[0].numpy()
    return draft


def plan_jobs(
    listed: Sequence[tuple[str, Variant]],
    tasks: int,
    per_task: int,
    timing_per_task: int,
    done: set[tuple[str, int, int]],
) -> list[Job]:
    """Return what is missing, round after round of all tasks, so that what a stopped run has drawn is balanced.

    Args:
        listed: Variants with their identities, each identity once.
        tasks: Of the world.
        per_task: Scenes of each task.
        timing_per_task: So many of them are decoded one by one in mode "ar", too; the rest in batches.
        done: Keys of the rows that are there.
    """
    single: list[Job] = []
    waiting: list[Job] = []
    for index in range(per_task):
        for task_number in range(tasks):
            for name, item in listed:
                if (name, task_number, index) in done:
                    continue
                alone = item.name not in (AR, OTHER_SEEDS) or (item.name == AR and index < timing_per_task)
                (single if alone else waiting).append(Job(item, ((task_number, index),)))
    batches = []
    for name in (AR, OTHER_SEEDS):
        missing = [job for job in waiting if job.variant.name == name]
        for first in range(0, len(missing), BATCH):
            together = tuple(job.scenes[0] for job in missing[first : first + BATCH])
            batches.append(Job(missing[first].variant, together, batched=True))
    return batches + single


def check_weights(pipeline: engines.Pipeline, world: World) -> None:
    """Check that a bundle holds the shipped weights: the reference draws batches with those.

    Raises:
        StudyError: it holds others.
        WorldError: the shipped ones are not there.
    """
    if weights_sha256(world.models().target) != pipeline.bundle.manifest.target.weights_sha256:
        raise StudyError(
            f"{pipeline.bundle.path}: expected a bundle of the shipped weights; give one, or build one with "
            f"`mulo-sd build --models {world.name}`"
        )


class Worker:
    """Draws jobs; one a process."""

    current: "Worker"

    def __init__(self, bundle: Path, world: World) -> None:
        torch.set_num_threads(1)
        self.pipeline = engines.load(bundle, threads=1)
        self.world = world
        self.models = world.models()
        self.warm: set[tuple[object, ...]] = set()

    def draw(self, job: Job) -> list[Row]:
        return self._draw_batch(job) if job.batched else [self._draw_one(job.variant, job.scenes[0])]

    def _draw_one(self, item: Variant, where: Scene) -> Row:
        drawn = self.world.held_out_prompt(*where)
        changes = item.changes(self.pipeline.settings())
        settings = self.pipeline.settings(**changes)
        draft = None
        if item.oracle:
            side = self.pipeline.bundle.manifest.models[settings.model_numbers[-1]].grid_height
            draft = oracle_draft(self.models.tokenizer, drawn, side)
        # The first run of each graph prepares it; no image should pay for that.
        graphs = (settings.mode, settings.drafters, settings.up_sampler)
        for _ in range(1 if graphs in self.warm else 2):
            result = self.pipeline.generate(
                drawn.text, seed=seed_of(drawn, item), plan=drawn.plan, draft=draft, **changes
            )
        self.warm.add(graphs)
        return self._row(item, drawn, result.tokens, np.asarray(result.image), figures_of(result))

    def _draw_batch(self, job: Job) -> list[Row]:
        settings = self.pipeline.settings(**job.variant.changes(self.pipeline.settings()))
        drawn = [self.world.held_out_prompt(*where) for where in job.scenes]
        null = self.pipeline.bundle.null_conditions[0]
        # Unguided a prefix stands alone; its null condition is not looked at, and here only so that there is one.
        prefixes = [
            self.pipeline.describe(item.text, item.seed, item.plan).condition.prefixes(null, settings.guidance_scale)
            for item in drawn
        ]
        grids = decode_batch(
            self.models.target,
            torch.from_numpy(np.stack([item[0] for item in prefixes])),
            torch.from_numpy(prefixes[0][-1]),
            [seed_of(item, job.variant) for item in drawn],
            settings.guidance_scale,
            settings.temperature,
            settings.top_k,
            settings.top_p,
        ).numpy()
        figures = {
            "acceptance_rate": 1.0,
            "resampled_rate": 0.0,
            "nfe_target": grids[0].size,
            "nfe_drafter": 0,
            "cycles": 0,
            "seconds": None,
        }
        images = [np.asarray(self.pipeline.image_from_tokens(grid)) for grid in grids]
        return [
            self._row(job.variant, item, grid, image, figures, batched=True)
            for item, grid, image in zip(drawn, grids, images, strict=True)
        ]

    def _row(
        self,
        item: Variant,
        drawn: HeldOut,
        tokens: NDArray[np.int64],
        image: NDArray[np.uint8],
        figures: Mapping[str, Any],
        batched: bool = False,
    ) -> Row:
        height, width = tokens.shape
        return Row(
            identity=identity(item, self.pipeline),
            variant=item.name,
            task=drawn.task,
            task_number=drawn.task_number,
            index=drawn.index,
            seed=seed_of(drawn, item),
            holds=self.world.holds(drawn.text, image),
            batched=batched,
            height=height,
            width=width,
            tokens=pack_tokens(tokens),
            **figures,
        )


def _start(bundle: Path, world: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent, which gets it as well, ends its workers
    Worker.current = Worker(bundle, world_named(world))


def _draw(job: Job) -> list[Row]:
    return Worker.current.draw(job)


def draw_jobs(jobs: Sequence[Job], bundle: Path, world: World, workers: int) -> Iterator[list[Row]]:
    """Yield the rows of each job as it ends, in any order."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, _start, (bundle, world.name)) as pool:
        yield from pool.imap_unordered(_draw, jobs)
