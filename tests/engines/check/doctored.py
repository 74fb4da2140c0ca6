"""Manifests that are changed by hand, and machines that are written by hand."""

import hashlib
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mulo_sd.engines.backends.host import Host
from mulo_sd.engines.backends.nvidia_driver import Gpu
from tests.in_process import InProcess

COMMAND = "mulo_sd.engines.check"
GRAPH = '<ir_version: 10, opset_import: ["" : 24]> g (float[4, 4] x) => (float[4, 4] y) { y = Exp(x) }'
ADA = Gpu("NVIDIA L4", "8.9")
RUNTIMES = {"tensorrt_rtx": "1.7.1.116", "cuda.bindings": "13.5.0", "onnxruntime": "1.32.0", "torch": "2.13.0"}
WITH_CUDA = {"onnxruntime for CUDA": "1.32.0", "torch for CUDA": "2.13.0"}
HERE = Host("linux-x86_64", RUNTIMES, (ADA,), "580.1")
RTX: dict[str, Any] = {
    "product": "tensorrt-rtx",
    "platforms": ["linux-x86_64", "windows-x86_64"],
    "compute_capabilities": ["8.0", "8.6", "8.9", "12.0", "12.1"],
    "or_later": True,
    "built_on": {"os": "Linux 6.1", "driver": None, "gpu": None},
}
TRT = RTX | {
    "product": "tensorrt",
    "platforms": ["linux-x86_64"],
    "compute_capabilities": ["8.9"],
    "or_later": False,
    "hardware_compatibility": "none",
    "built_on": {"os": "Linux 6.1", "driver": "580.1", "gpu": "NVIDIA L4"},
}
Change = Callable[[dict[str, Any]], object]


def replace_file(folder: Path, entry: dict[str, Any], content: bytes) -> None:
    """Replace a file of a bundle and what its manifest says of it."""
    (folder / entry["path"]).write_bytes(content)
    entry |= {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}


def change_manifest(folder: Path, change: Change) -> None:
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def plans(version: str | None = None, **changes: object) -> Change:
    """Return a change of every plan's compatibility, and of its version."""

    def change(manifest: dict[str, Any]) -> None:
        for graph in manifest["graphs"].values():
            graph["plans"][0] |= {} if version is None else {"version": version}
            graph["plans"][0]["compatibility"] |= changes

    return change


def older(manifest: dict[str, Any]) -> None:
    for graph in manifest["graphs"].values():
        del graph["plans"][0]["compatibility"]


def of_tensorrt(manifest: dict[str, Any]) -> None:
    for graph in manifest["graphs"].values():
        graph["plans"][0] |= {"backend": "trt", "version": "11.2.0.1", "compatibility": TRT}


def without_plans(manifest: dict[str, Any]) -> None:
    for graph in manifest["graphs"].values():
        graph["plans"] = []


def without_two(manifest: dict[str, Any]) -> None:
    for name in ("decoder", "target"):
        manifest["graphs"][name]["plans"] = []


def unchanged(manifest: dict[str, Any]) -> None:
    pass


def host(*gpus: Gpu, platform: str = "linux-x86_64", without: str = "", **packages: str) -> Host:
    """Return a machine that has all runtimes but one, and others beside."""
    there = {name: version for name, version in (RUNTIMES | packages).items() if name != without}
    return Host(platform, there, gpus)


DEFAULT = "GPUs of compute capability 8.0, 8.6, 8.9, 12.0, 12.1 and later"
BUILD = "build it again with `mulo-sd build --models minimal --backend "
REBUILD = f"{BUILD}trt-rtx --force --precision fp32 --out "
NO_GPU = "does not run here: no NVIDIA GPU is at hand; use --backend ort"


def check_message(
    folder: Path, in_process: InProcess, backend: str, status: int, said: str, change: Change = unchanged
) -> None:
    """Check a bundle, changed, by the command: its third line is the verdict, and begins with what is said.

    A build command in it is one that a shell takes apart as it was meant.
    """
    change_manifest(folder, change)
    done = in_process.run(COMMAND, str(folder), "--backend", backend)
    assert (done.returncode, done.stderr) == (status, "")
    _, _, line = done.stdout.splitlines()
    number = len(json.loads((folder / "manifest.json").read_text())["graphs"])
    assert line.removeprefix(f"{backend}: ").removeprefix(f"all {number} plans: ").startswith(said)
    if "mulo-sd build" in line:
        words = shlex.split(line.partition("`")[2].rpartition("`")[0])
        assert words[words.index("--out") + 1] == str(folder)
