"""Automatic widths of a bundle on a backend: seconds are measured once, kept in a file, and read from it afterwards."""

import json
import os
import platform
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mulo_sd.engines.backends.base import Backend
from mulo_sd.engines.bundle import Bundle, TransformerEntry
from mulo_sd.engines.files.cache_folder import cache_folder
from mulo_sd.engines.files.kept_seconds import KeptSeconds
from mulo_sd.engines.numbers import SettingsError, whole_number
from mulo_sd.engines.passes.pass_seconds import measured_seconds
from mulo_sd.engines.rules.widths import MAX_WIDTH, AutoWidth

VARIABLE = "MULO_SD_SWEEP_WIDTH"
# Where rounding is coarse a pass of another width may draw another token, so every machine takes this one.
HALF_PRECISION_WIDTH = 32
# Of which another version may take other times.
PACKAGES = ("mulo-sd", "numpy", "onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx", "torch")


def fixed_width(environment: Mapping[str, str] = os.environ) -> int | None:
    """Return the width that MULO_SD_SWEEP_WIDTH names; None where it is not set or empty.

    Raises:
        SettingsError: it is no whole number of 1 to 256.
    """
    text = environment.get(VARIABLE, "").strip()
    if not text:
        return None
    try:
        number = int(text)
    except ValueError:
        raise SettingsError(f"{VARIABLE}: expected a whole number in 1..{MAX_WIDTH}, got {text!r:.80}") from None
    return whole_number(VARIABLE, number, 1, MAX_WIDTH)


def _processor() -> str:
    """Return the processor's name; some systems tell it in a file alone."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def smaller(one: Mapping[int, float], other: Mapping[int, float]) -> dict[int, float]:
    """Return the smaller seconds of each width of two measurements; a pass takes at most what a wider one does."""
    widths = sorted({*one, *other})
    least = [min(seconds[width] for seconds in (one, other) if width in seconds) for width in widths]
    return {width: min(least[place:]) for place, width in enumerate(widths)}


class AutoWidths:
    """The automatic widths of a bundle's models on one backend; safe to use from several threads."""

    def __init__(self, bundle: Bundle, backend: Backend) -> None:
        """Prepare; nothing is measured or read before a decode asks for a width.

        Args:
            bundle: Opened and checked.
            backend: Made for it, as it is: no other decode's passes in between.
        """
        self.bundle, self.backend = bundle, backend
        self._seconds: dict[tuple[str, int], dict[int, float]] = {}
        self._lock = threading.Lock()

    def of(self, entry: TransformerEntry, batch: int) -> AutoWidth:
        """Return the automatic width of a model's sweeps in one decode.

        Args:
            entry: The model.
            batch: Rows of its passes: 2 with guidance, else 1.
        """
        return AutoWidth(partial(self.seconds, entry, batch))

    def seconds(self, entry: TransformerEntry, batch: int) -> Mapping[int, float]:
        """Return what a sweep costs by its width; one entry alone where the width is not chosen by measuring.

        Raises:
            SettingsError: MULO_SD_SWEEP_WIDTH is no width.
            BackendError: no pass can be run.
        """
        width = self._chosen()
        if width is not None:
            return {width: 1.0}
        with self._lock:
            place = entry.graph, batch
            if place not in self._seconds:
                self._seconds[place] = self._kept_or_measured(entry, batch)
            return self._seconds[place]

    def _chosen(self) -> int | None:
        """Return the width that is not chosen by measuring, or None where it is."""
        width = fixed_width()
        return HALF_PRECISION_WIDTH if width is None and self.bundle.manifest.precision != "fp32" else width

    def measure_again(self) -> None:
        """Measure all models, whatever is kept, and keep the smaller seconds of each width.

        What a busy machine measured once is too long, and would be kept for ever; a process that draws for days can
        spend a second on it.

        Raises:
            Exception: as `seconds`.
        """
        batch = 1 if self.bundle.manifest.settings.guidance_scale == 1 else 2
        if self._chosen() is not None:
            return
        for entry in self.bundle.manifest.models:
            measured = measured_seconds(self.backend, entry, batch)
            with self._lock:
                kept, key = KeptSeconds(cache_folder()), self._key(entry, batch)
                before = kept.read(key)
                seconds = measured if before is None or max(before) > MAX_WIDTH else smaller(before, measured)
                kept.write(key, seconds)
                self._seconds[entry.graph, batch] = seconds

    def _kept_or_measured(self, entry: TransformerEntry, batch: int) -> dict[int, float]:
        kept, key = KeptSeconds(cache_folder()), self._key(entry, batch)
        seconds = kept.read(key)
        if seconds is None or max(seconds) > MAX_WIDTH:
            seconds = measured_seconds(self.backend, entry, batch)
            kept.write(key, seconds)
        return seconds

    def _key(self, entry: TransformerEntry, batch: int) -> str:
        """Return the hash of what the seconds depend on: graph and plans, backend, versions and machine."""
        graph = self.bundle.manifest.graphs.get(entry.graph)
        facts = {
            "graph": None if graph is None else [graph.onnx.sha256, *(plan.file.sha256 for plan in graph.plans)],
            "weights": entry.weights_sha256,
            "precision": self.bundle.manifest.precision,
            "batch": batch,
            "backend": [self.backend.name, self.backend.device, self.backend.threads],
            "versions": _versions(),
            "machine": [platform.system(), _processor(), os.cpu_count()],
        }
        return sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()
