"""Decodes of bundles by their plans, and on ONNX Runtime's CUDA provider, equal the CPU's; start, memory, passes."""

import statistics
import time
from itertools import product
from pathlib import Path

import numpy as np

from mulo_sd.conformance.tools.gpu.passes import forget_after
from mulo_sd.conformance.tools.gpu.report import Asked, Report
from mulo_sd.engines.backends import make_backend
from mulo_sd.engines.bundle import Bundle, BundleError, open_bundle
from mulo_sd.engines.commands.demo_bundle import build_demo_bundle
from mulo_sd.engines.distribution import Distribution
from mulo_sd.engines.modes import MODES
from mulo_sd.engines.passes.transformer import TransformerSession
from mulo_sd.engines.rules.noise import NoiseSource
from mulo_sd.engines.service.pipeline import Pipeline
from mulo_sd.engines.service.result import Result
from mulo_sd.engines.settings import Mode, SettingsError

BACKENDS = ("trt-rtx", "trt", "ort-cuda", "torch-cuda")
PROMPTS = ("a red circle", "a blue square and a green circle", "two yellow stars", "a pink diamond above a cross")
AT_ONCE = (1, 4)
TOKENS, REPEATS = (1, 4, 16, 32, 64), 20


class _OnTheCpu:
    """What ONNX Runtime draws, of the modes whose parts a bundle holds; each is drawn when it is first asked for."""

    def __init__(self, bundle: Bundle, prompts: list[str]) -> None:
        self.pipeline, self.prompts = Pipeline(bundle, make_backend("ort", bundle)), prompts
        self.drawn: dict[Mode, list[Result] | None] = {}

    def of(self, mode: Mode) -> list[Result] | None:
        """Return its images; None where the bundle does not hold what the mode needs."""
        if mode not in self.drawn:
            try:
                self.drawn[mode] = self.pipeline.generate(self.prompts, range(len(self.prompts)), mode, batch=1)
            except (SettingsError, BundleError):
                self.drawn[mode] = None
        return self.drawn[mode]


def plans(report: Report, asked: Asked) -> None:
    """Hold every backend of every bundle against ONNX Runtime on the CPU, in every mode, alone and sharing passes."""
    for folder in asked.bundles or (_minimal(report),):
        bundle = open_bundle(folder)
        prompts = [PROMPTS[number % len(PROMPTS)] for number in range(asked.prompts)]
        on_the_cpu = _OnTheCpu(bundle, prompts)
        for name in BACKENDS:
            with report.step("backend", bundle=folder.name, backend=name):
                started = time.perf_counter()
                pipeline = Pipeline(bundle, make_backend(name, bundle))
                pipeline.generate(prompts[0], 0, "ar")
                report.add(backend=name, bundle=folder.name, start_s=round(time.perf_counter() - started, 2))
                _hold(report, pipeline, on_the_cpu)
                report.add(backend=name, ms_by_tokens=_passes(pipeline))
                report.add(backend=name, memory=pipeline.backend.memory(), notes=list(pipeline.backend.notes))


def _hold(report: Report, pipeline: Pipeline, on_the_cpu: _OnTheCpu) -> None:
    """Tell of each mode how many images are the CPU's, token for token."""
    prompts = on_the_cpu.prompts
    for mode, at_once in product(MODES, AT_ONCE):
        expected = on_the_cpu.of(mode)
        if expected is None:
            continue
        started = time.perf_counter()
        drawn = pipeline.generate(prompts, range(len(prompts)), mode, batch=at_once)
        seconds = round(time.perf_counter() - started, 3)
        equal = sum(np.array_equal(one.tokens, two.tokens) for one, two in zip(drawn, expected, strict=True))
        report.add(
            backend=pipeline.backend.name, mode=mode, at_once=at_once, equal=equal, of=len(drawn), seconds=seconds
        )


def _minimal(report: Report) -> Path:
    path = report.path.with_name("minimal-fp32")
    if not path.exists():
        build_demo_bundle(path, "fp32", plans=True, models="minimal")
    return path


def _passes(pipeline: Pipeline) -> dict[int, float]:
    """Return the median milliseconds of a pass of the target by its tokens, one token sampled of each."""
    bundle, entry = pipeline.bundle, pipeline.bundle.manifest.target
    prefixes = pipeline.describe(PROMPTS[0]).condition.prefixes(bundle.null_conditions[0], 2.0)
    found = {}
    for fed in (count for count in TOKENS if count < entry.grid_height * entry.grid_width):
        session = TransformerSession(pipeline.backend, entry, prefixes)
        session.prefill()
        cells, tokens = np.arange(fed), np.zeros(fed, dtype=np.int64)
        noise, row = NoiseSource(1, 0, entry.grid_height * entry.grid_width, entry.vocabulary), np.zeros(1, np.int64)
        times = []
        for _ in range(REPEATS):
            before = session.slots.used
            started = time.perf_counter()
            session.feed(cells, tokens).sample(row, row, Distribution(2.0), noise, None)
            times.append(time.perf_counter() - started)
            forget_after(session, before)
        found[fed] = round(1e3 * statistics.median(times[REPEATS // 4 :]), 3)
    return found
