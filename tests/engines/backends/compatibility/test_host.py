"""This machine as a record: its driver is asked through libraries that are compiled here."""

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from mulo_sd.engines.backends import host
from mulo_sd.engines.backends.host import Host, package_version, platform_name

COMPILER = shutil.which("cc") or shutil.which("gcc")
needs_a_compiler = pytest.mark.skipif(
    COMPILER is None or sys.platform != "linux", reason="no C compiler to make a driver's library with"
)
# The calls that are made, with cuda.h's and nvml.h's signatures; FAILING returns an error.
CUDA = """
#include <stdlib.h>
#include <string.h>
static int failing(const char *name) { const char *f = getenv("FAILING"); return f && !strcmp(f, name) ? 3 : 0; }
static const int capabilities[][2] = {{8, 9}, {12, 0}};
int cuInit(unsigned flags) { return flags ? 1 : failing("cuInit"); }
int cuDeviceGetCount(int *count) { *count = 2; return failing("cuDeviceGetCount"); }
int cuDeviceGet(int *device, int index) { *device = 40 + index; return failing("cuDeviceGet"); }
int cuDeviceGetName(char *name, int size, int device) {
    if (size < 16) return 1;
    strcpy(name, device == 40 ? "NVIDIA L4" : "NVIDIA RTX 5090");
    return device == 41 ? failing("second") : failing("cuDeviceGetName");
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    if (attribute != 75 && attribute != 76) return 1;
    *value = capabilities[device - 40][attribute - 75];
    return failing("cuDeviceGetAttribute");
}
"""
NVML = """
#include <stdlib.h>
#include <string.h>
static int open = 0;
int nvmlInit_v2(void) { open = 1; return !strcmp(getenv("FAILING"), "nvml") ? 9 : 0; }
int nvmlShutdown(void) { open = 0; return 0; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) {
    if (!open || size < 80) return 1;
    strcpy(text, "580.159.04");
    return 0;
}
"""
# With each function failing in turn: a process that begins is what takes time.
ASK = """
import json, os, sys
from mulo_sd.engines.backends.host import Host
for os.environ["FAILING"] in sys.argv[1:]:
    found = Host.of_this_machine()
    print(json.dumps([found.gpus, found.driver]))
"""
BOTH = [["NVIDIA L4", "8.9"], ["NVIDIA RTX 5090", "12.0"]]


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with libraries that are called like the driver's."""
    folder = tmp_path_factory.mktemp("driver")
    for name, source in (("libcuda.so.1", CUDA), ("libnvidia-ml.so.1", NVML)):
        command = [str(COMPILER), "-shared", "-fPIC", "-x", "c", "-", "-o", str(folder / name)]
        subprocess.run(command, input=source, text=True, check=True, timeout=60)
    return folder


def asked(folder: Path, *failing: str) -> list[Any]:
    """Return the GPUs and the driver's version that a process finds, for each function that fails."""
    others = os.environ | {"LD_LIBRARY_PATH": str(folder)}
    command = [sys.executable, "-c", ASK, *failing]
    done = subprocess.run(command, env=others, capture_output=True, text=True, timeout=60, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@needs_a_compiler
def test_gpus_and_driver(libraries: Path) -> None:
    """A driver that fails is asked no further, and nothing is raised."""
    calls = ("cuInit", "cuDeviceGetCount", "cuDeviceGet", "cuDeviceGetName", "cuDeviceGetAttribute")
    whole, second, nvml, *others = asked(libraries, "none", "second", "nvml", *calls)
    assert whole == [BOTH, "580.159.04"]
    assert second == [BOTH[:1], "580.159.04"]
    assert nvml == [BOTH, None]
    assert others == [[[], "580.159.04"]] * len(calls)


@needs_a_compiler
def test_a_library_without_the_functions(tmp_path: Path) -> None:
    for name in ("libcuda.so.1", "libnvidia-ml.so.1"):
        command = [str(COMPILER), "-shared", "-fPIC", "-x", "c", "-", "-o", str(tmp_path / name)]
        subprocess.run(command, input="int nothing;", text=True, check=True, timeout=60)
    assert asked(tmp_path, "none") == [[[], None]]


@needs_a_compiler
def test_a_file_that_is_no_library(tmp_path: Path) -> None:
    (tmp_path / "libcuda.so.1").write_text("garbage")
    assert asked(tmp_path, "none") == [[[], None]]


def test_packages_are_those_that_are_installed() -> None:
    found = Host.of_this_machine()
    assert found.packages["onnxruntime"] == version("onnxruntime")
    assert found.packages["torch"] == version("torch")
    assert found.platform == platform_name()


def test_a_package_that_tells_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there, as in a container that was not made with pip."""
    monkeypatch.setitem(host.DISTRIBUTIONS, "json", ("no-such-distribution",))
    assert package_version("json") == ""


def test_a_package_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(host.DISTRIBUTIONS, "no_such_package", ("onnxruntime",))
    assert package_version("no_such_package") is None


@pytest.mark.parametrize(
    ("system", "machine", "name"),
    [
        ("linux", "x86_64", "linux-x86_64"),
        ("win32", "AMD64", "windows-x86_64"),
        ("darwin", "arm64", "macos-aarch64"),
        ("linux", "aarch64", "linux-aarch64"),
    ],
)
def test_platforms(monkeypatch: pytest.MonkeyPatch, system: str, machine: str, name: str) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert platform_name() == name
