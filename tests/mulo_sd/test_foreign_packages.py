"""In a folder with an `export.py` or a package `engines` of its own, nothing of ours runs it."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

from mulo_sd.conformance.bench.fresh import fresh_figures
from mulo_sd.processes import ROOT
from tests.mulo_sd.packaging import ROOT as CHECKOUT
from tests.mulo_sd.packaging import site_of

FOREIGN = ("conformance/__init__.py", "engines/__init__.py", "export.py", "reference.py")
# Says that it was run, and ends what runs it.
PROGRAM = "import os\nopen(os.path.join({folder!r}, 'ran'), 'a').write(__name__)\nraise SystemExit('foreign code')\n"
# What pip writes for a command of [project.scripts].
SCRIPT = "import sys\nfrom {module} import {function}\nif __name__ == '__main__':\n    sys.exit({function}())\n"
SPAWN = """
import multiprocessing
from mulo_sd.engines.numbers import whole_number
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.apply(whole_number, ("n", 3, 0, 9)))
"""
BUILD = """
from pathlib import Path
from mulo_sd.engines.commands.demo_bundle import build_demo_bundle
build_demo_bundle(Path("new"), "nonsense", models="minimal")
"""
# torch looks for the compiler Triton when its exporter begins, and when an optimizer is made.
COMPUTE = """
import multiprocessing
from mulo_sd.reference.numbers import seed_number
if __name__ == "__main__":
    import torch._dynamo
    with multiprocessing.get_context("spawn").Pool(1, __import__, ("torch._dynamo",)) as pool:
        print(pool.apply(seed_number, (3,)))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to work in, with code that is called as ours is."""
    found = tmp_path / "a checkout"
    for name in FOREIGN:
        path = found / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(PROGRAM.format(folder=str(tmp_path)))
    return found


class Ours(NamedTuple):
    """Where our package is: the interpreter that sees it, and the folder that holds `mulo_sd`."""

    python: Path
    root: str


@pytest.fixture(params=["checkout", "installed"])
def ours(request: pytest.FixtureRequest) -> Ours:
    """A checkout, or a virtual environment in which the wheel is installed."""
    if request.param == "checkout":
        return Ours(Path(sys.executable), ROOT)
    python: Path = request.getfixturevalue("installed")
    return Ours(python, str(site_of(python)))


def run(folder: Path, command: list[str], ours: Ours, path: str | None = None) -> str:
    """Run a command in a folder; return what it prints. Nothing foreign runs, and it ends well.

    Args:
        folder: The working folder, beside which foreign code says that it ran.
        command: The interpreter's arguments.
        ours: What is tried.
        path: PYTHONPATH; by default the folder of our package.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(ours.python), *command],
        cwd=folder,
        env=environment | {"PYTHONPATH": ours.root if path is None else path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert not (folder.parent / "ran").exists(), (folder.parent / "ran").read_text()
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_script(arguments: list[str], folder: Path, ours: Ours) -> str:
    """Run what pip writes as `mulo-sd`, also where PYTHONPATH names the folder, as such checkouts often ask for."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, function = project["scripts"]["mulo-sd"].partition(":")
    script = folder.parent / "mulo-sd"
    script.write_text(SCRIPT.format(module=module, function=function))
    return run(folder, [str(script), *arguments], ours, os.pathsep.join([".", ours.root]))


@pytest.mark.parametrize("name", ["generate", "build"])
def test_commands(name: str, folder: Path, ours: Ours) -> None:
    assert run_script([name, "--help"], folder, ours).startswith(f"usage: mulo-sd {name} ")


def test_the_conformance_suite(folder: Path, installed_suite: Path) -> None:
    """Its installed files, in the process of pytest and in a worker."""
    arguments = ["conformance", "-n1", "-q", "engines/test_margins.py", "--report", "report.md"]
    assert "passed" in run_script(arguments, folder, Ours(installed_suite, str(site_of(installed_suite))))


@pytest.mark.parametrize("module", ["engines.generate", "export.build"])
def test_modules(module: str, folder: Path, ours: Ours) -> None:
    """`python -m` looks into the folder first: our package has a name of its own."""
    assert f"usage: python -m {module}" in run(folder, ["-m", f"mulo_sd.{module}", "--help"], ours)


def test_processes_of_a_command(folder: Path, ours: Ours) -> None:
    """Those of multiprocessing take the order of folders over."""
    program = folder / "program.py"
    program.write_text(SPAWN)
    assert run(folder, [str(program)], ours) == "3\n"


def test_the_build_that_a_command_starts(folder: Path, ours: Ours) -> None:
    """It is ours that refuses the precision."""
    with pytest.raises(AssertionError, match=r"argument --precision: invalid choice: 'nonsense'"):
        run(folder, ["-c", BUILD], ours)
    assert not (folder.parent / "ran").exists()


def test_fresh_processes_of_the_benchmark(folder: Path, demo_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert fresh_figures(demo_bundle, "ort", 1, None, draw=False)["import"] > 0
    assert not (folder.parent / "ran").exists()


def test_a_program_that_embeds_the_engines_keeps_its_own_modules(folder: Path, ours: Ours) -> None:
    """A library disturbs nobody: `export` and `engines` are the program's own."""
    for name in ("engines/__init__.py", "export.py"):
        (folder / name).write_text("OWN = True\n")
    program = (
        "import engines, export; from mulo_sd import engines as ours; print(engines.OWN, export.OWN, ours.Settings)"
    )
    assert run(folder, ["-c", program], ours).startswith("True True <class 'mulo_sd.engines.settings.Settings'")


def test_a_folder_named_triton(folder: Path) -> None:
    """A checkout of Triton's, or its environments: torch does not take it for the package, in workers neither."""
    (folder / "triton").mkdir()
    program = folder / "program.py"
    program.write_text(COMPUTE)
    assert run(folder, [str(program)], Ours(Path(sys.executable), ROOT)) == "3\n"
