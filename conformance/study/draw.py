"""Draws what is missing: a job is one image, or a batch of autoregressive ones; workers of one thread each.

Prompt and seed depend on the task and the scene's number only, so more prompts can be added to a folder later.
"""

import multiprocessing
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
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
from mulo_sd.engines.prompts import null_prefix
from mulo_sd.engines.prompts.vocabulary import TASKS
from mulo_sd.engines.rules.trace import Pass
from mulo_sd.reference import demo
from mulo_sd.reference.batch import decode_batch
from mulo_sd.reference.demo import scenes
from mulo_sd.reference.demo.evaluate import prompt_holds
from mulo_sd.reference.images import images_from_pixels
from mulo_sd.reference.tokenizer import ImageTokenizer
from mulo_sd.reference.weights import weights_sha256

BATCH = 40
SEEDS_A_TASK = 1000
OTHER_SEEDS_FIRST = 10**6


@dataclass(frozen=True)
class Job:
    """Scenes of one variant to draw together; more than one only where AR is drawn in a batch."""

    variant: Variant
    scenes: tuple[Scene, ...]
    batched: bool = False


def held_out_scene(where: Scene) -> scenes.Scene:
    """Return scene `index` of a task's held-out ones."""
    return scenes.scene(where[1], scenes.HELD_OUT_SPLIT, TASKS[where[0]])


def seed_of(where: Scene, item: Variant) -> int:
    """Return the seed of a scene: one and the same for all variants, but for the noise floor."""
    return SEEDS_A_TASK * where[0] + where[1] + (OTHER_SEEDS_FIRST if item.other_seeds else 0)


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
def oracle_draft(tokenizer: ImageTokenizer, item: scenes.Scene, side: int) -> NDArray[np.int64]:
    """Return the low-resolution tokens of a real scene, Int[side, side]."""
    pixels = torch.from_numpy(item.render(side * tokenizer.config.factor))[None]
    draft: NDArray[np.int64] = tokenizer.tokens_from_images(images_from_pixels(pixels))[0].numpy()
    return draft


def plan_jobs(
    listed: Sequence[tuple[str, Variant]], per_task: int, timing_per_task: int, done: set[tuple[str, int, int]]
) -> list[Job]:
    """Return what is missing, round after round of all tasks, so that what a stopped run has drawn is balanced.

    Args:
        listed: Variants with their identities, each identity once.
        per_task: Scenes of each task.
        timing_per_task: So many of them are decoded one by one in mode "ar", too; the rest in batches.
        done: Keys of the rows that are there.
    """
    single: list[Job] = []
    waiting: list[Job] = []
    for index in range(per_task):
        for task_number in range(len(TASKS)):
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


def check_weights(pipeline: engines.Pipeline) -> None:
    """Check that a bundle holds the shipped weights: the reference draws batches with those.

    Raises:
        StudyError: it holds others.
    """
    if weights_sha256(demo.load().target) != pipeline.bundle.manifest.target.weights_sha256:
        raise StudyError(
            f"{pipeline.bundle.path}: expected a bundle of the shipped weights; give one, or build one with "
            "`mulo-sd build --models demo`"
        )


class Worker:
    """Draws jobs; one a process."""

    current: "Worker"

    def __init__(self, bundle: Path) -> None:
        torch.set_num_threads(1)
        self.pipeline = engines.load(bundle, threads=1)
        self.models = demo.load()
        self.warm: set[tuple[object, ...]] = set()

    def draw(self, job: Job) -> list[Row]:
        return self._draw_batch(job) if job.batched else [self._draw_one(job.variant, job.scenes[0])]

    def _draw_one(self, item: Variant, where: Scene) -> Row:
        name, drawn = identity(item, self.pipeline), held_out_scene(where)
        settings = self.pipeline.settings(**item.settings)
        draft = None
        if item.oracle:
            side = self.pipeline.bundle.manifest.models[settings.model_numbers[-1]].grid_height
            draft = oracle_draft(self.models.tokenizer, drawn, side)
        seed = seed_of(where, item)
        # The first run of each graph prepares it; no image should pay for that.
        graphs = (settings.mode, settings.drafters, settings.up_sampler)
        for _ in range(1 if graphs in self.warm else 2):
            result = self.pipeline.generate(drawn.prompt.text, seed=seed, plan=drawn.plan, draft=draft, **item.settings)
        self.warm.add(graphs)
        holds = prompt_holds(drawn.prompt, np.asarray(result.image))
        height, width = result.tokens.shape
        return Row(
            identity=name,
            variant=item.name,
            task=TASKS[where[0]],
            task_number=where[0],
            index=where[1],
            seed=seed,
            holds=holds,
            batched=False,
            height=height,
            width=width,
            tokens=pack_tokens(result.tokens),
            **figures_of(result),
        )

    def _draw_batch(self, job: Job) -> list[Row]:
        name, settings = identity(job.variant, self.pipeline), self.pipeline.settings(**job.variant.settings)
        drawn = [held_out_scene(where) for where in job.scenes]
        seeds = [seed_of(where, job.variant) for where in job.scenes]
        conditions = [demo.condition(item.prompt.text, plan=item.plan) for item in drawn]
        grids = decode_batch(
            self.models.target,
            torch.stack([item.cond for item in conditions]),
            torch.from_numpy(null_prefix()),
            seeds,
            settings.guidance_scale,
            settings.temperature,
            settings.top_k,
            settings.top_p,
        ).numpy()
        rows = []
        for where, item, seed, grid in zip(job.scenes, drawn, seeds, grids, strict=True):
            row = Row(
                identity=name,
                variant=job.variant.name,
                task=TASKS[where[0]],
                task_number=where[0],
                index=where[1],
                seed=seed,
                holds=prompt_holds(item.prompt, np.asarray(self.pipeline.image_from_tokens(grid))),
                acceptance_rate=1.0,
                resampled_rate=0.0,
                nfe_target=grid.size,
                nfe_drafter=0,
                cycles=0,
                seconds=None,
                batched=True,
                height=grid.shape[0],
                width=grid.shape[1],
                tokens=pack_tokens(grid),
            )
            rows.append(row)
        return rows


def _start(bundle: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent, which gets it as well, ends its workers
    Worker.current = Worker(bundle)


def _draw(job: Job) -> list[Row]:
    return Worker.current.draw(job)


def draw_jobs(jobs: Sequence[Job], bundle: Path, workers: int) -> Iterator[list[Row]]:
    """Yield the rows of each job as it ends, in any order."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, _start, (bundle,)) as pool:
        yield from pool.imap_unordered(_draw, jobs)
