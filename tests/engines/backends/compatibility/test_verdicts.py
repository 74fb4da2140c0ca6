"""Every verdict on a plan, with its words: of plans and machines that are written by hand."""

from typing import Any

import pytest

from mulo_sd.engines.backends.host import Host
from mulo_sd.engines.backends.nvidia_driver import Gpu
from mulo_sd.engines.backends.verdicts import Outcome, judge_plan
from mulo_sd.engines.bundle.entries import PlanEntry

FILE = {"path": "plans/a.plan", "sha256": "0" * 64, "size_bytes": 1}
BUILT_ON = {"os": "Linux 6.1", "driver": "580.1", "gpu": "NVIDIA L4"}
ADA = Gpu("NVIDIA L4", "8.9")
RTX = {
    "product": "tensorrt-rtx",
    "platforms": ["linux-x86_64", "windows-x86_64"],
    "compute_capabilities": ["8.0", "8.6", "8.9", "12.0", "12.1"],
    "or_later": True,
    "built_on": {"os": "Linux 6.1"},
}
TRT = {
    "product": "tensorrt",
    "platforms": ["linux-x86_64"],
    "compute_capabilities": ["8.9"],
    "hardware_compatibility": "none",
    "built_on": BUILT_ON,
}


def plan(told: dict[str, Any] | None, version: str = "1.7.1.116", **changes: object) -> PlanEntry:
    """Return a plan of the product that is told, or of TensorRT for RTX where nothing is."""
    backend = "trt" if told and "hardware_compatibility" in told else "trt-rtx"
    compatibility = told and told | changes
    content = {"backend": backend, "file": FILE, "build_seconds": 1, "version": version}
    return PlanEntry.model_validate(content | {"compatibility": compatibility})


def host(gpu: Gpu | None = ADA, platform: str = "linux-x86_64", **packages: str) -> Host:
    given = packages or {"tensorrt_rtx": "1.7.1.116", "tensorrt": "1.7.1.116"}
    return Host(platform, given, () if gpu is None else (gpu,))


DEFAULT = "GPUs of compute capability 8.0, 8.6, 8.9, 12.0, 12.1 and later"
OF_RTX = "it was built with TensorRT for RTX 1.7.1.116, and of this machine"


@pytest.mark.parametrize(
    ("told", "machine", "outcome", "reason"),
    [
        (plan(RTX), host(), "runs", "TensorRT for RTX 1.7.1.116, NVIDIA L4"),
        (plan(RTX), host(platform="windows-x86_64"), "runs", "TensorRT for RTX 1.7.1.116, NVIDIA L4"),
        (plan(RTX), host(Gpu("A", "13.0")), "runs", "TensorRT for RTX 1.7.1.116, A"),
        (plan(RTX, compute_capabilities="any"), host(Gpu("A", "9.0")), "runs", "TensorRT for RTX 1.7.1.116, A"),
        (plan(TRT), host(), "runs", "TensorRT 1.7.1.116, NVIDIA L4"),
        (
            plan(TRT, hardware_compatibility="ampere_plus", compute_capabilities=["8.0"], or_later=True),
            host(),
            "runs",
            "",
        ),
        (plan(TRT, hardware_compatibility="same_compute_capability"), host(Gpu("A", "8.9")), "runs", ""),
        (
            plan(RTX, product="tensorrt"),
            host(),
            "rebuild",
            "it is a plan of TensorRT, which TensorRT for RTX does not read",
        ),
        (
            plan(TRT, product="tensorrt-rtx"),
            host(),
            "rebuild",
            "it is a plan of TensorRT for RTX, which TensorRT does not read",
        ),
        (
            plan(RTX),
            host(platform="linux-aarch64"),
            "rebuild",
            "it was built for linux-x86_64, windows-x86_64, and this is linux-aarch64",
        ),
        (
            plan(RTX, version="1.6.0.1"),
            host(),
            "rebuild",
            "it was built with TensorRT for RTX 1.6.0.1, and 1.7.1.116 reads plans of its own version alone",
        ),
        (
            plan(RTX),
            host(Gpu("RTX 2080", "7.5")),
            "rebuild",
            f"it was built for {DEFAULT}, and this RTX 2080 has 7.5",
        ),
        (
            plan(RTX, compute_capabilities=["7.5"], or_later=False),
            host(),
            "rebuild",
            "it was built for GPUs of compute capability 7.5, and this NVIDIA L4 has 8.9",
        ),
        (
            plan(TRT),
            host(Gpu("H200", "9.0")),
            "rebuild",
            "it was built for GPUs of compute capability 8.9, and this H200 has 9.0",
        ),
        (
            plan(RTX),
            host(Gpu("GTX 1080", "6.1")),
            "cannot",
            "TensorRT for RTX needs a GPU of compute capability 7.5 or later, and this GTX 1080 has 6.1",
        ),
        (plan(RTX), host(None), "cannot", "no NVIDIA GPU is at hand"),
        (plan(None), host(None), "cannot", "no NVIDIA GPU is at hand"),
        (plan(RTX), host(tensorrt="11.0.0.1"), "install", "the package tensorrt_rtx is not installed"),
        (
            plan(None),
            host(),
            "unknown",
            "its manifest, of an older build, does not say on which platforms and GPUs it runs",
        ),
        (
            plan(RTX),
            host(Gpu("H200", "9.0")),
            "unknown",
            f"it was built for {DEFAULT}, and this H200 has 9.0",
        ),
        (
            plan(TRT),
            host(Gpu("NVIDIA L40S", "8.9")),
            "unknown",
            "it was built on NVIDIA L4, and TensorRT promises nothing of NVIDIA L40S",
        ),
        (
            plan(TRT, built_on={"os": "Linux 6.1"}),
            host(),
            "unknown",
            "it was built on a GPU that it does not name, and TensorRT promises nothing of NVIDIA L4",
        ),
        (
            plan(RTX),
            host(tensorrt_rtx="1.7"),
            "unknown",
            f"{OF_RTX} only TensorRT for RTX 1.7 is known",
        ),
        (
            plan(RTX),
            host(tensorrt_rtx=""),
            "unknown",
            f"{OF_RTX} the version of tensorrt_rtx is not known",
        ),
        (
            plan(RTX),
            Host("linux-x86_64", {"tensorrt_rtx": "1.7.1.116"}),
            "unknown",
            f"it runs on {DEFAULT}, and that of this machine is not known",
        ),
        (
            plan(RTX, compute_capabilities="any"),
            Host("linux-x86_64", {"tensorrt_rtx": "1.7.1.116"}),
            "unknown",
            "it runs on GPUs of any compute capability, and that of this machine is not known",
        ),
    ],
)
def test_verdicts(told: PlanEntry, machine: Host, outcome: str, reason: str) -> None:
    verdict = judge_plan(told, machine)
    assert (verdict.outcome, verdict.reason) == (outcome, reason or verdict.reason)
    assert "\n" not in verdict.reason
    assert verdict.refuses == (outcome in ("rebuild", "install", "cannot"))


@pytest.mark.parametrize(
    ("told", "machine", "options"),
    [
        (plan(RTX, version="1.6.0.1"), host(), ("--backend", "trt-rtx")),
        (plan(TRT), host(Gpu("H200", "9.0")), ("--backend", "trt")),
        (plan(RTX), host(Gpu("RTX 2080", "7.5")), ("--backend", "trt-rtx", "--compute-capability", "7.5")),
        (plan(TRT), host(Gpu("T4", "7.5")), ("--backend", "trt")),
        (plan(None), host(), ("--backend", "trt-rtx")),
        (plan(RTX), host(Gpu("H200", "9.0")), ()),
        (plan(RTX), host(Gpu("GTX 1080", "6.1")), ()),
    ],
)
def test_a_build_that_would_help(told: PlanEntry, machine: Host, options: tuple[str, ...]) -> None:
    """Turing's GPUs are none of those that TensorRT for RTX builds for by default."""
    assert judge_plan(told, machine).build_options == options


def test_a_package_that_would_help() -> None:
    assert judge_plan(plan(TRT), host(tensorrt_rtx="1")).install == "pip install 'mulo-sd[trt]'"


@pytest.mark.parametrize(
    ("built", "installed", "outcome"),
    [
        ("10.1.0.27", "10.1.0.27", Outcome.RUNS),
        ("10.1.0.27", "10.1.0.2", Outcome.REBUILD),
        ("10.1.0.2", "10.1.0.27", Outcome.REBUILD),
        ("10.1.0.27", "10.1.0", Outcome.UNKNOWN),
        ("10.1.0", "10.1.0.27", Outcome.REBUILD),
        ("10.1.0.27", "1", Outcome.REBUILD),
    ],
)
def test_versions_are_compared_part_by_part(built: str, installed: str, outcome: Outcome) -> None:
    """10.1 is no beginning of 10.16, nor 10.1.0.2 of 10.1.0.27."""
    assert judge_plan(plan(RTX, built), host(tensorrt_rtx=installed)).outcome is outcome
