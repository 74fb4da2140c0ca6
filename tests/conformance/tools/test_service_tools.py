"""The measurements of the service and its soak, at their smallest; environments of tox have the long ones."""

import json
from pathlib import Path

import pytest

from mulo_sd.conformance.tools import measure_service, measure_workers, soak_service
from tests.in_process import InProcess


def test_a_short_soak(minimal_bundle: Path, in_process: InProcess) -> None:
    """Bad requests, late ones, clients that hang up, a killed service: nothing is wrong, lost or drawn twice."""
    arguments = ("--bundle", str(minimal_bundle), "--requests", "200", "--kills", "1", "--seed", "1")
    done = in_process.run(soak_service.__name__, *arguments)
    assert done.returncode == 0, done.stdout
    report = json.loads(done.stdout)
    assert report["wrong"] == []
    assert report["images_drawn"] == report["distinct_images"] > 50
    assert set(report["requests"]) >= {"good", "same", "stream", "gone", "bad", "late", "asked again after a kill"}
    assert done.stderr.splitlines()[-1].startswith("208 requests, ")


def test_the_measurements(minimal_bundle: Path, in_process: InProcess) -> None:
    arguments = ("--bundle", str(minimal_bundle), "--images", "8", "--size", "2", "--threads", "1", "--rounds", "1")
    done = in_process.run(measure_service.__name__, *arguments)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert 0 < figures["throughput"] < 3
    for name in ("beside_decode", "session_beside_decode", "one_at_a_time", "half_load", "full_load", "streamed"):
        parts = figures[f"{name}_ms"]
        assert 0 < parts["p50"] <= parts["p95"] <= parts["p99"]
    assert figures["first_partial_ms"]["p50"] < figures["streamed_ms"]["p99"]


def test_the_measurement_of_workers(minimal_bundle: Path, in_process: InProcess) -> None:
    arguments = ("--bundle", str(minimal_bundle), "--images", "2", "--size", "2", "--rounds", "1")
    done = in_process.run(measure_workers.__name__, *arguments)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| the default", "| serial", "| ar"]
    assert "2 at once, 2 workers, 1 thread a pass" in lines[0]
    for line in lines[2:]:
        assert all(float(figure) > 0 for figure in line.split(" | ")[1:4])


@pytest.mark.parametrize("tool", [measure_service, measure_workers, soak_service])
def test_no_bundle(tool: object, in_process: InProcess, tmp_path: Path) -> None:
    done = in_process.run(getattr(tool, "__name__"), "--bundle", str(tmp_path / "none"))  # noqa: B009  (of a module)
    assert done.returncode == 2
    assert f"error: {tmp_path / 'none'}: " in done.stderr
