"""What embedding the engines costs: the packages that are imported with them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

# Top-level packages that a service which only draws need not have, nor wait for.
BANNED = ("torch", "transformers", "tokenizers", "reference", "export", "conformance", "onnx", "onnxscript")
RUNTIMES = ("onnxruntime", "tensorrt", "tensorrt_rtx", "cuda")
PROGRAM = """
import importlib, json, sys, time
started = time.perf_counter()
for name in sys.argv[1:]:
    importlib.import_module(name)
seconds = time.perf_counter() - started
print(json.dumps([seconds, sorted({name.removeprefix("mulo_sd.").partition(".")[0] for name in sys.modules})]))
"""


def imported_with(*names: str) -> set[str]:
    """Import modules in a fresh interpreter; print how long it took, return all top-level packages."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *names], capture_output=True, text=True, timeout=300, check=True
    )
    seconds, packages = json.loads(done.stdout)
    print(f"import {', '.join(names)}: {seconds:.2f} s")
    return set(packages)


def test_the_engines_alone() -> None:
    """`import engines` loads no runtime either: the backend that is chosen does."""
    packages = imported_with("mulo_sd.engines")
    assert "numpy" in packages
    assert not packages.intersection((*BANNED, *RUNTIMES))


@pytest.mark.parametrize(("module", "runtime"), [("ort.cpu", {"onnxruntime"}), ("tensorrt.backend", set())])
def test_backends(module: str, runtime: set[str]) -> None:
    """A backend loads its own runtime only, and those for a GPU none before they are made."""
    packages = imported_with("mulo_sd.engines", f"mulo_sd.engines.backends.{module}")
    assert not packages.intersection(BANNED)
    assert packages.intersection(RUNTIMES) == runtime


def test_a_bundle_without_captions_needs_none_of_their_tokenizers(minimal_bundle: Path) -> None:
    program = "import sys; from mulo_sd import engines; engines.load(sys.argv[1]).describe('a star'); "
    program += "print('tokenizers' in sys.modules)"
    command = [sys.executable, "-c", program, str(minimal_bundle)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout == "False\n"


def test_commands() -> None:
    """The command-line program starts without them too."""
    assert not imported_with("mulo_sd.engines.generate").intersection((*BANNED, *RUNTIMES))
