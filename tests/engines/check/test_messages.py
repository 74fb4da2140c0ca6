"""`mulo-sd check`: every verdict on a backend, in the line that a user reads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mulo_sd.engines.backends.host import Host
from mulo_sd.engines.backends.nvidia_driver import Gpu
from tests.engines.check.doctored import (
    ADA,
    BUILD,
    COMMAND,
    DEFAULT,
    HERE,
    NO_GPU,
    REBUILD,
    Change,
    change_manifest,
    check_message,
    host,
    of_tensorrt,
    older,
    plans,
    replace_file,
    unchanged,
    without_plans,
    without_two,
)
from tests.in_process import InProcess


@pytest.mark.parametrize(
    ("change", "machine", "status", "said"),
    [
        (unchanged, HERE, 0, "runs here: TensorRT for RTX 1.7.1.116, NVIDIA L4"),
        (unchanged, host(ADA, platform="windows-x86_64"), 0, "runs here: TensorRT for RTX 1.7.1.116, NVID"),
        (unchanged, host(Gpu("A", "13.0")), 0, "runs here: TensorRT for RTX 1.7.1.116, A"),
        (plans(compute_capabilities="any"), host(Gpu("A", "9.0")), 0, "runs here: "),
        (
            plans(version="1.6.0.1"),
            HERE,
            1,
            "must be rebuilt: it was built with TensorRT for RTX 1.6.0.1, and 1.7.1.116 reads plans of its own version "
            f"alone; {REBUILD}",
        ),
        (
            plans(product="tensorrt"),
            HERE,
            1,
            f"must be rebuilt: it is a plan of TensorRT, which TensorRT for RTX does not read; {REBUILD}",
        ),
        (
            unchanged,
            host(ADA, platform="linux-aarch64"),
            1,
            f"must be rebuilt: it was built for linux-x86_64, windows-x86_64, and this is linux-aarch64; {REBUILD}",
        ),
        (
            plans(platforms=["windows-x86_64"]),
            HERE,
            1,
            f"must be rebuilt: it was built for windows-x86_64, and this is linux-x86_64; {REBUILD}",
        ),
        (
            unchanged,
            host(Gpu("RTX 2080", "7.5")),
            1,
            f"must be rebuilt: it was built for {DEFAULT}, and this RTX 2080 has 7.5; {BUILD}trt-rtx "
            "--compute-capability 7.5 --force --precision fp32 --out ",
        ),
        (
            plans(compute_capabilities=["7.5", "8.0"], or_later=False),
            HERE,
            1,
            "must be rebuilt: it was built for GPUs of compute capability 7.5, 8.0, and this NVIDIA L4 has 8.9; "
            f"{REBUILD}",
        ),
        (
            plans(compute_capabilities=["8.9"], or_later=False, version="1.6.0.1"),
            HERE,
            1,
            "must be rebuilt: it was built with TensorRT for RTX 1.6.0.1, and 1.7.1.116 reads plans of its own version "
            f"alone; {BUILD}trt-rtx --compute-capability 8.9 --force ",
        ),
        (
            unchanged,
            host(Gpu("GTX 1080", "6.1")),
            1,
            "does not run here: TensorRT for RTX needs a GPU of compute capability 7.5 or later, and this GTX 1080 has "
            "6.1; use --backend ort",
        ),
        (unchanged, host(), 1, NO_GPU),
        (
            unchanged,
            host(ADA, without="tensorrt_rtx"),
            1,
            "must be installed: the package tensorrt_rtx is not installed; install it with `pip install "
            "'mulo-sd[trt-rtx]'`",
        ),
        (
            unchanged,
            host(ADA, without="cuda.bindings"),
            1,
            "must be installed: the package cuda-bindings is not installed; install it with `pip install "
            "'mulo-sd[trt-rtx]'`",
        ),
        (
            older,
            HERE,
            1,
            f"unknown: its manifest, of an older build, does not say on which platforms and GPUs it runs; {REBUILD}",
        ),
        (
            unchanged,
            host(Gpu("H200", "9.0")),
            1,
            f"unknown: it was built for {DEFAULT}, and this H200 has 9.0; only loading it tells",
        ),
        (
            unchanged,
            host(ADA, tensorrt_rtx=""),
            1,
            "unknown: it was built with TensorRT for RTX 1.7.1.116, and of this machine the version of tensorrt_rtx is "
            "not known; only loading it tells",
        ),
        (without_plans, HERE, 1, f"must be rebuilt: it holds no plans for trt-rtx; {REBUILD}"),
        (without_two, HERE, 1, f"must be rebuilt: it holds no trt-rtx plan of decoder, target; {REBUILD}"),
        (
            of_tensorrt,
            HERE,
            1,
            f"must be rebuilt: it holds no plans for trt-rtx; {REBUILD}",
        ),
    ],
)
def test_messages(
    bundle: Path,
    in_process: InProcess,
    on: Callable[[Host], None],
    change: Change,
    machine: Host,
    status: int,
    said: str,
) -> None:
    on(machine)
    check_message(bundle, in_process, "trt-rtx", status, said, change)


def test_a_file_that_is_no_plan(bundle: Path, in_process: InProcess, on: Callable[[Host], None]) -> None:
    """TensorRT for RTX itself says so, of one plan of many."""

    def change(manifest: dict[str, Any]) -> None:
        replace_file(bundle, manifest["graphs"]["decoder"]["plans"][0]["file"], b"ftrt" + bytes(100))

    change_manifest(bundle, change)
    on(HERE)
    done = in_process.run(COMMAND, str(bundle), "--backend", "trt-rtx")
    assert done.returncode == 1
    lines = done.stdout.splitlines()[2:]
    assert len(lines) == 2
    said = "plans of decoder: must be rebuilt: TensorRT for RTX says that it is not what it takes for a plan; build it"
    assert any(line.startswith(f"trt-rtx: {said}") for line in lines)
    assert any(": runs here: " in line and " and 4 more: " in line for line in lines)
