"""`mulo-sd check`: the table of all backends, JSON, exit statuses, and what is not loaded."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mulo_sd.engines.backends import BACKENDS
from mulo_sd.engines.backends.host import Host
from tests.engines.check.doctored import BUILD, COMMAND, HERE, change_manifest, host, older, plans
from tests.in_process import InProcess


def test_all_backends_in_a_line_each(bundle: Path, in_process: InProcess, on: Callable[[Host], None]) -> None:
    """It is enough that one of them runs it."""
    on(HERE)
    done = in_process.run(COMMAND, str(bundle))
    assert (done.returncode, done.stderr) == (0, "")
    what, where, *lines = done.stdout.splitlines()
    assert what.startswith(f"{bundle}: 'mulo-sd minimal', fp32: 21 files of ")
    assert where == (
        "this machine: linux-x86_64, driver 580.1, NVIDIA L4 (8.9); cuda.bindings 13.5.0, onnxruntime 1.32.0, "
        "tensorrt_rtx 1.7.1.116, torch 2.13.0"
    )
    assert [line.partition(": ")[0] for line in lines] == [*BACKENDS]
    assert "of your own" not in done.stdout
    assert [": runs here: " in line for line in lines] == [True, False, True, False, False]


def test_none_of_them(bundle: Path, in_process: InProcess, on: Callable[[Host], None]) -> None:
    on(host(without="onnxruntime"))
    done = in_process.run(COMMAND, str(bundle))
    assert done.returncode == 1
    assert "no NVIDIA GPU; " in done.stdout


def test_json(bundle: Path, in_process: InProcess, on: Callable[[Host], None]) -> None:
    change_manifest(bundle, plans(version="1.6.0.1"))
    on(HERE)
    done = in_process.run(COMMAND, str(bundle), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert (told["bundle"], told["name"], told["precision"]) == (str(bundle), "mulo-sd minimal", "fp32")
    assert told["host"]["gpus"] == [{"name": "NVIDIA L4", "compute_capability": "8.9"}]
    assert (told["host"]["platform"], told["host"]["driver"]) == ("linux-x86_64", "580.1")
    backends = {entry["backend"]: entry for entry in told["backends"]}
    assert [*backends] == [*BACKENDS]
    assert (backends["ort"]["outcome"], backends["ort"]["command"]) == ("runs", None)
    entry = backends["trt-rtx"]
    assert entry["outcome"] == "rebuild"
    assert entry["command"].startswith(BUILD.partition("`")[2])
    assert {plan["graph"] for plan in entry["plans"]} >= {"target", "decoder"}
    for plan in entry["plans"]:
        assert (plan["version"], plan["outcome"], plan["command"]) == ("1.6.0.1", "rebuild", entry["command"])
        assert plan["reason"] == entry["reason"]


def test_json_of_one_backend(bundle: Path, in_process: InProcess, on: Callable[[Host], None]) -> None:
    change_manifest(bundle, older)
    on(HERE)
    done = in_process.run(COMMAND, str(bundle), "--json", "--backend", "trt-rtx")
    assert done.returncode == 1
    (entry,) = json.loads(done.stdout)["backends"]
    assert (entry["backend"], entry["outcome"]) == ("trt-rtx", "unknown")


def test_an_unknown_backend(bundle: Path, in_process: InProcess) -> None:
    done = in_process.run(COMMAND, str(bundle), "--backend", "cuda")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith(
        "argument --backend: expected one of ort, ort-cuda, trt-rtx, trt, torch-cuda or module:factory, got 'cuda'"
    )


def test_a_table_on_a_terminal(bundle: Path) -> None:
    """With a GPU, so that a build would help; a command stays in one piece, however narrow the terminal is."""
    program = (
        "import dataclasses, sys\n"
        f"sys.argv = ['check', {str(bundle)!r}]\n"
        f"import {COMMAND} as check\n"
        "from mulo_sd.engines.backends.nvidia_driver import Gpu\n"
        "here = dataclasses.replace(check.Host.of_this_machine(), gpus=(Gpu('NVIDIA L4', '8.9'),))\n"
        "check.Host.of_this_machine = lambda: here\n"
        "sys.exit(check.main())\n"
    )
    reader, writer = pty.openpty()
    variables = os.environ | {"COLUMNS": "60", "TERM": "xterm"}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=writer, stderr=subprocess.PIPE, env=variables
    ) as process:
        os.close(writer)
        output = b""
        try:
            while part := os.read(reader, 65536):
                output += part
        except OSError:  # how a terminal ends
            pass
        os.close(reader)
    text = output.decode()
    assert process.returncode == 0
    assert "\u2503" in text, "a table"
    lines = [line.strip() for line in text.splitlines()]
    command_lines = [line for line in lines if line.startswith("torch-cuda: mulo-sd build --models minimal ")]
    assert len(command_lines) == 1
    assert command_lines[0].endswith("it'\"'\"'s here'")


def test_no_runtime_is_loaded(bundle: Path) -> None:
    """But TensorRT for RTX itself, which is asked of headers."""
    program = (
        "import sys\n"
        f"sys.argv = ['check', {str(bundle)!r}]\n"
        f"import {COMMAND} as check\n"
        "check.main()\n"
        "print([name for name in ('onnxruntime', 'torch', 'cuda.bindings') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_status_of_this_machine(bundle: Path, in_process: InProcess) -> None:
    """What is really installed here: ONNX Runtime is, as the project's own dependency."""
    done = in_process.run(COMMAND, str(bundle), "--backend", "ort")
    assert done.returncode == 0
    told: Any = json.loads(in_process.run(COMMAND, str(bundle), "--json").stdout)
    here = Host.of_this_machine()
    assert told["host"]["packages"] == dict(here.packages)
