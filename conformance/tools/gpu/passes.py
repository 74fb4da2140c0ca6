"""Passes of few tokens, by kind of kernel; and images a second by how many are drawn at once."""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from mulo_sd.conformance.bench.shapes import SHAPES, make_shape_pipeline
from mulo_sd.conformance.bench.workload import random_condition
from mulo_sd.conformance.tools.gpu.report import Asked, Report
from mulo_sd.engines.passes.transformer import TransformerSession

PASSES = 200


def forget_after(session: TransformerSession, slots: int) -> None:
    """Free all slots but the first ones."""
    session.slots.used = slots
    session.slots.ranks[slots:] = np.iinfo(np.int64).max
    session.slots.slot_of_position[session.slots.slot_of_position >= slots] = -1


def seconds_a_pass(session: TransformerSession, filled: int, fed: int) -> float:
    """Return the median time of a pass of `fed` tokens after `filled` slots, its logits on the device."""
    cells = np.arange(filled, filled + fed) - session.entry.prefix_length
    tokens = np.zeros(fed, dtype=np.int64)
    times = []
    for number in range(PASSES):
        started = time.perf_counter()
        session.feed(cells, tokens)
        torch.cuda.synchronize()
        if number >= PASSES // 4:
            times.append(time.perf_counter() - started)
        forget_after(session, filled)  # the same slots again
    return statistics.median(times)


def kernels(report: Report, asked: Asked) -> None:
    """Time passes of full-size targets, by kind of kernel."""
    for name in ("llamagen-xl-512", "tar-lp-1024"):
        pipeline, _ = make_shape_pipeline(
            replace(SHAPES[name], models=SHAPES[name].models[:1]), "cuda", "fp16", "torch"
        )
        backend: Any = pipeline.backend
        entry = pipeline.bundle.manifest.target
        condition = random_condition(entry, 0)
        prefixes = condition.prefixes(pipeline.bundle.null_conditions[0], 7.5)
        ways: dict[str, Callable[[], Any]] = {
            "torch": backend.use_torch,
            "triton": partial(backend.use_triton, False),
            "triton, pdl": partial(backend.use_triton, True),
        }
        for way, use in ways.items():
            started = time.perf_counter()
            use()
            chosen = time.perf_counter() - started
            session = TransformerSession(backend, entry, prefixes)
            session.prefill()
            last = entry.prefix_length + entry.grid_height * entry.grid_width - 64
            filled = sorted({entry.prefix_length, (entry.prefix_length + last) // 2, last})
            cells = np.arange(last - entry.prefix_length)
            session.feed(cells, np.zeros(len(cells), dtype=np.int64))
            for slots in filled:
                for fed in (1, 4, 32):
                    seconds = seconds_a_pass(session, slots, fed)
                    report.add(shape=name, kernels=way, slots=slots, fed=fed, ms=round(1e3 * seconds, 4))
            report.add(shape=name, kernels=way, is_now=backend.kernels, chosen_s=round(chosen, 1), notes=backend.notes)
        del pipeline, backend, session
        torch.cuda.empty_cache()


def batch(report: Report, asked: Asked) -> None:
    """Count images a second of AR, by how many are drawn at once."""
    pipeline, _ = make_shape_pipeline(SHAPES["llamagen-xl-512"], "cuda", "fp16", "triton")
    condition = random_condition(pipeline.bundle.manifest.target, 0)
    for mode in ("ar", "zipar", "parallel", "exact"):
        for size in (1, 2, 4, 8, 16):
            with pipeline.session(size) as session:
                for _ in range(2):  # the first compiles and captures
                    before, started = session.passes, time.perf_counter()
                    for request in [session.submit(condition, seed, mode) for seed in range(size)]:
                        request.result()
                    taken, passes = time.perf_counter() - started, session.passes - before
            report.add(
                mode=mode, at_once=size, seconds=round(taken, 3), per_second=round(size / taken, 3), passes=passes
            )
