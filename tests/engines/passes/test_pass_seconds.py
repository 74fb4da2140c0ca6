"""What a sweep costs by its width: the shortest of several rounds, of which the first prepares the runtime."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mulo_sd import engines
from mulo_sd.engines.passes import pass_seconds


@pytest.fixture(scope="module")
def pipeline(minimal_bundle: Path) -> engines.Pipeline:
    return engines.load(minimal_bundle, threads=1)


def measured(pipeline: engines.Pipeline, monkeypatch: pytest.MonkeyPatch, first: float, seconds: Any) -> Any:
    """Measure with a clock of our own: each width takes `first` times as long when it is run first."""
    runs: Counter[int] = Counter()

    def taken(backend: Any, entry: Any, cache: Any, width: int, noise: Any) -> float:
        runs[width] += 1
        return float(seconds(width)) * (first if runs[width] == 1 else 1.0)

    monkeypatch.setattr(pass_seconds, "_seconds_of", taken)
    entry = pipeline.bundle.manifest.target
    return pass_seconds.measured_seconds(pipeline.backend, entry, 2), runs


def test_what_comes_first_leaves_no_width_out(pipeline: engines.Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime takes long for the first pass of each size, most of all for wide ones."""
    found, _ = measured(pipeline, monkeypatch, 50.0, lambda width: 0.001 * (1 + width / 100))
    assert list(found) == [1, 2, 4, 8, 16, 32, 64]
    assert found[64] == pytest.approx(pass_seconds.LOOP_SECONDS + 0.00164)


def test_dear_widths_are_measured_once(pipeline: engines.Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where cells cost what they cost alone, wide sweeps are left alone after the first round."""
    found, runs = measured(pipeline, monkeypatch, 1.0, lambda width: 0.001 * width)
    assert found[1] < found[64]
    assert runs[64] == 1 < runs[1]
