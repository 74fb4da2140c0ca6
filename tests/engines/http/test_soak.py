"""The short forms of the soak and of the measurements: tox's environments soak and serving have the long ones."""

from pathlib import Path

from mulo_sd.conformance.tools.measure_service import measure
from mulo_sd.conformance.tools.soak_service import Soak


def test_a_short_soak(minimal_bundle: Path) -> None:
    """Bad requests, late ones, clients that hang up, a killed service: nothing is wrong, lost or drawn twice."""
    counts = Soak(minimal_bundle, requests=200, kills=1, seed=1).run()
    assert counts.wrong == []
    assert counts.drawn == counts.distinct > 50
    assert set(counts.outcomes) >= {"good", "same", "stream", "gone", "bad", "late", "asked again after a kill"}


def test_the_measurements(minimal_bundle: Path) -> None:
    figures = measure(minimal_bundle, count=8, size=2, threads=1, rounds=1)
    assert 0 < figures["throughput"] < 3
    for name in (
        "beside_decode_ms",
        "session_beside_decode_ms",
        "one_at_a_time_ms",
        "half_load_ms",
        "full_load_ms",
        "first_partial_ms",
        "streamed_ms",
    ):
        assert 0 < figures[name]["p50"] <= figures[name]["p95"] <= figures[name]["p99"]
    assert figures["first_partial_ms"]["p50"] < figures["streamed_ms"]["p99"]
