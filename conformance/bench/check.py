"""The regression check: passes of fixed prompts and seeds, which are exact, and the host's share, which has a limit."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mulo_sd.conformance.bench.demo_table import Measurements, draw_timed
from mulo_sd.conformance.bench.errors import BenchError
from mulo_sd.conformance.bench.modes import modes_of
from mulo_sd.conformance.bench.timed import TimedBackend
from mulo_sd.conformance.bench.workload import Drawing
from mulo_sd.engines.files.whole_files import write_bytes_whole
from mulo_sd.engines.service.pipeline import Pipeline

EXPECTED = Path(__file__).with_name("expected.json")
# One thread, unless another number is asked for: the other processes of a test run would change the host's share.
THREADS, PROMPTS = 1, 2
# Modes of so many passes that one prompt must do.
LONG = ("ar", "serial", "serial-cascade", "exact")
SWEEP_WIDTH = 16
# Added to a measured host share for its limit: busy machines vary by less.
MARGIN = 0.1


class ExpectedMode(BaseModel):
    """What is expected of a mode: passes by prompt, and the largest host share."""

    model_config = ConfigDict(extra="forbid")

    nfe_target: list[int]
    nfe_drafter: list[int]
    largest_host_share: float = Field(ge=0, le=1)


class Expected(BaseModel):
    """What is expected of a bundle's modes with its own settings."""

    model_config = ConfigDict(extra="forbid")

    bundle: str
    precision: str
    prompts: int = Field(ge=1, le=100)
    modes: dict[str, ExpectedMode]


def read_expected(path: Path) -> Expected:
    """Read what is expected.

    Raises:
        BenchError: the file is missing or something else.
    """
    try:
        return Expected.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BenchError(f"{path}: cannot read it: {error.strerror or error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BenchError(
            f"{path}: {where + ': ' if where else ''}{first['msg']}; write it anew with --record"
        ) from None


def measure(
    pipeline: Pipeline, drawings: Sequence[Drawing], modes: list[str] | None, advance: Callable[[str], None]
) -> dict[str, Measurements]:
    """Draw every prompt once in every mode, in long ones the first alone.

    Args:
        pipeline: Over the bundle.
        drawings: The prompts.
        modes: By name; None is all that the bundle allows.
        advance: Called after every image.
    """
    chosen = modes_of(len(pipeline.bundle.manifest.models) - 1, modes)
    pipeline.decode(drawings[0].condition_of(pipeline), pipeline.settings(), 0)  # makes the sessions
    timer = TimedBackend(pipeline.backend)
    wrapped, measured = Pipeline(pipeline.bundle, timer), {}
    for mode in chosen:
        settings, own = pipeline.settings(**mode.changes), Measurements()
        if settings.sweep_width == "auto":  # which would follow the machine, and with it the passes
            settings = settings.changed(sweep_width=SWEEP_WIDTH)
        for number, drawing in enumerate(drawings[:1] if mode.name in LONG else drawings):
            own.add(number, draw_timed(wrapped, timer, drawing, settings))
            advance(mode.label)
        measured[mode.name] = own
    return measured


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def record_expected(pipeline: Pipeline, measured: dict[str, Measurements], path: Path) -> None:
    """Write what was measured as what is expected.

    Raises:
        BenchError: the file cannot be written.
    """
    manifest = pipeline.bundle.manifest
    modes = {
        name: {
            "nfe_target": [own.nfe_target[number] for number in sorted(own.nfe_target)],
            "nfe_drafter": [own.nfe_drafter[number] for number in sorted(own.nfe_drafter)],
            "largest_host_share": round(min(1.0, _median(own.host_share) + MARGIN), 2),
        }
        for name, own in measured.items()
    }
    prompts = max(len(own.nfe_target) for own in measured.values())
    content: dict[str, Any] = {"bundle": manifest.name, "precision": manifest.precision, "prompts": prompts}
    text = json.dumps(content | {"modes": modes}, indent=1) + "\n"
    try:
        write_bytes_whole(path, text.encode())
    except OSError as error:
        raise BenchError(f"{path}: cannot write it: {error.strerror or error}") from None


def check_bundle(pipeline: Pipeline, expected: Expected, path: Path) -> None:
    """Check that a bundle is the one that something is expected of.

    Raises:
        BenchError: it is another.
    """
    manifest = pipeline.bundle.manifest
    if (manifest.name, manifest.precision) != (expected.bundle, expected.precision):
        raise BenchError(
            f"{path}: expects the bundle {expected.bundle} in {expected.precision}, got {manifest.name} in "
            f"{manifest.precision}"
        )


def compared(measured: dict[str, Measurements], expected: Expected) -> list[str]:
    """Return what moved, in words; nothing where all is as expected."""
    moved = []
    for name, wanted in expected.modes.items():
        own = measured.get(name)
        if own is None:
            moved.append(f"{name}: expected the mode, the bundle does not allow it")
            continue
        for label, counts, before in (
            ("target passes", own.nfe_target, wanted.nfe_target),
            ("drafter passes", own.nfe_drafter, wanted.nfe_drafter),
        ):
            now = [counts[number] for number in sorted(counts)]
            if now != before:
                moved.append(f"{name}: {label}: expected {before}, got {now}")
        share = _median(own.host_share)
        if not share <= wanted.largest_host_share:  # NaN is no share
            moved.append(f"{name}: host share: expected at most {wanted.largest_host_share:.0%}, got {share:.1%}")
    return moved
