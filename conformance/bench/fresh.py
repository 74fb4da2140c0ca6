"""Figures that only a fresh process has: how long a start takes, and how much memory a mode needs at most."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mulo_sd.conformance.bench.errors import BenchError
from mulo_sd.conformance.bench.spread import Spread, spread_of
from mulo_sd.engines.backends.base import one_line
from mulo_sd.processes import environment

STARTS = 3
# Seconds and bytes that a start may take on two cores.
TARGETS = {"import_and_open": 0.7, "first_image": 3.0, "peak_bytes": 600e6}
# A process of its own, and not a module of the package: importing that would be timed as well. Each part is timed after
# what it builds on; the peak is of this process alone (`ru_maxrss` starts from that of the process that forked it).
PROGRAM = """
import json, sys, time
asked = json.loads(sys.argv[1])
times, started = {}, time.perf_counter()
from mulo_sd import engines
times["import"] = time.perf_counter() - started
pipeline = engines.load(asked["bundle"], asked["backend"], asked["threads"])
times["import_and_open"] = time.perf_counter() - started
times["open"] = times["import_and_open"] - times["import"]
if asked["draw"]:
    prompt = asked["prompt"]
    if prompt is None:
        from mulo_sd.conformance.bench.workload import random_condition
        prompt = random_condition(pipeline.bundle.manifest.target, 0)
    pipeline.generate(prompt, seed=0, **asked["changes"])
    times["first_image"] = time.perf_counter() - started
peak = 0
try:
    with open("/proc/self/status", encoding="ascii") as status:
        peak = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
except (OSError, StopIteration):
    import resource
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps(times | {"peak_bytes": peak}))
"""


def fresh_figures(
    bundle: Path,
    backend: str,
    threads: int | None,
    prompt: str | None,
    changes: Mapping[str, Any] | None = None,
    draw: bool = True,
) -> dict[str, float]:
    """Open a bundle in a fresh process, and draw one image there; return seconds and bytes by name.

    Args:
        bundle: Its folder.
        backend: As for `engines.load`.
        threads: Likewise.
        prompt: None draws a random condition.
        changes: Of the bundle's settings.
        draw: Whether an image is drawn.

    Raises:
        BenchError: the process failed.
    """
    arguments = {"bundle": str(bundle), "backend": backend, "threads": threads, "prompt": prompt, "draw": draw}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(arguments | {"changes": dict(changes or {})})],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),  # the same package as this process has, whatever folder it is started in
    )
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise BenchError(f"a fresh process failed: {one_line(last[0])}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def start_up(
    bundle: Path, backend: str, threads: int | None, prompt: str | None, starts: int = STARTS
) -> dict[str, Spread]:
    """Return seconds and bytes of a start by name, each over `starts` fresh processes."""
    runs = [fresh_figures(bundle, backend, threads, prompt) for _ in range(starts)]
    return {name: spread_of([figures[name] for figures in runs]) for name in runs[0]}


def within_target(name: str, value: float) -> bool | None:
    """Whether a figure keeps its target; None where it has none."""
    return value < TARGETS[name] if name in TARGETS else None
