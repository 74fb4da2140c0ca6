"""`mulo-sd check`: on the backends beside TensorRT for RTX."""

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
    HERE,
    NO_GPU,
    WITH_CUDA,
    Change,
    change_manifest,
    check_message,
    host,
    of_tensorrt,
    unchanged,
)
from tests.in_process import InProcess


@pytest.mark.parametrize(
    ("backend", "change", "machine", "status", "said"),
    [
        (
            "trt",
            unchanged,
            HERE,
            1,
            "must be installed: it holds no plans for trt, and tensorrt, which builds them, is not installed; install "
            "it with `pip install 'mulo-sd[trt]'`",
        ),
        (
            "trt",
            unchanged,
            host(tensorrt="11.2.0.1"),
            1,
            NO_GPU,
        ),
        (
            "trt",
            unchanged,
            host(ADA, tensorrt="11.2.0.1"),
            1,
            f"must be rebuilt: it holds no plans for trt; {BUILD}trt --backend trt-rtx --force --precision fp32 --out ",
        ),
        ("trt", of_tensorrt, host(ADA, tensorrt="11.2.0.1"), 0, "runs here: TensorRT 11.2.0.1, NVIDIA L4"),
        (
            "trt",
            of_tensorrt,
            host(Gpu("H200", "9.0"), tensorrt="11.2.0.1"),
            1,
            "must be rebuilt: it was built for GPUs of compute capability 8.9, and this H200 has 9.0; "
            f"{BUILD}trt --force --precision fp32 --out ",
        ),
        (
            "trt",
            of_tensorrt,
            host(Gpu("L40S", "8.9"), tensorrt="11.2.0.1"),
            1,
            "unknown: it was built on NVIDIA L4, and TensorRT promises nothing of L40S; "
            f"{BUILD}trt --force --precision fp32 --out ",
        ),
        ("ort", unchanged, host(), 0, "runs here: ONNX Runtime 1.32.0"),
        (
            "ort",
            unchanged,
            host(without="onnxruntime"),
            1,
            "must be installed: the package onnxruntime is not installed; install it with `pip install onnxruntime`",
        ),
        (
            "ort",
            lambda manifest: manifest.update(precision="bf16"),
            HERE,
            1,
            "does not run here: expected a bundle in fp32 or fp16, got bf16, which ONNX Runtime's CPU provider cannot "
            "run; use --backend trt-rtx on a GPU, or build another precision",
        ),
        (
            "ort-cuda",
            unchanged,
            HERE,
            1,
            "must be installed: the ONNX Runtime that is installed has no CUDA provider; install it with `pip "
            "install 'onnxruntime-gpu[cuda,cudnn]' && pip uninstall -y onnxruntime && pip install --force-reinstall "
            "--no-deps onnxruntime-gpu`",
        ),
        ("ort-cuda", unchanged, host(ADA, **WITH_CUDA), 0, "runs here: ONNX Runtime 1.32.0, NVIDIA L4"),
        ("ort-cuda", unchanged, host(**WITH_CUDA), 1, NO_GPU),
        (
            "ort-cuda",
            lambda manifest: manifest.update(precision="bf16"),
            host(ADA, **WITH_CUDA),
            1,
            "does not run here: expected a bundle in fp32 or fp16, got bf16; use --backend trt-rtx on a GPU, or",
        ),
        (
            "torch-cuda",
            unchanged,
            HERE,
            1,
            f"must be rebuilt: it holds no weights for torch-cuda; {BUILD}torch-cuda --backend trt-rtx --force ",
        ),
        ("my.module:make", unchanged, HERE, 1, "unknown: it is a backend of your own; only loading it tells"),
    ],
)
def test_messages(
    bundle: Path,
    in_process: InProcess,
    on: Callable[[Host], None],
    backend: str,
    change: Change,
    machine: Host,
    status: int,
    said: str,
) -> None:
    on(machine)
    check_message(bundle, in_process, backend, status, said, change)


def with_modules(manifest: dict[str, Any]) -> None:
    manifest["modules"] = {"target": manifest["graphs"]["target"]["onnx"]}


@pytest.mark.parametrize(
    ("machine", "status", "said"),
    [
        (host(ADA, **WITH_CUDA), 0, "runs here: torch 2.13.0, NVIDIA L4"),
        (host(**WITH_CUDA), 1, NO_GPU),
        (
            host(ADA, torch="2.13.0+cpu"),
            1,
            "must be installed: torch 2.13.0+cpu was not built for CUDA; install it with `pip install "
            "--force-reinstall torch==2.13.0`",
        ),
        (
            host(ADA, without="torch"),
            1,
            "must be installed: the package torch is not installed; install it with `pip install 'mulo-sd[reference]'`",
        ),
    ],
)
def test_weights_for_torch(
    bundle: Path, in_process: InProcess, on: Callable[[Host], None], machine: Host, status: int, said: str
) -> None:
    change_manifest(bundle, with_modules)
    on(machine)
    done = in_process.run(COMMAND, str(bundle), "--backend", "torch-cuda")
    assert (done.returncode, done.stdout.splitlines()[2]) == (status, f"torch-cuda: {said}")
