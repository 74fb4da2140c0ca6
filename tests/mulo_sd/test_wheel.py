"""The distributions: what each holds, how large it is, and that the commands run where a wheel alone is installed."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from mulo_sd.commands import COMMANDS
from tests.mulo_sd.packaging import ROOT, build, build_files, make_environment, site_of

# Of the wheel's file, and of what it installs.
MAX_BYTES = 2_000_000
DATA = {
    "py.typed",
    "engines/conditions/imagenet_classes.txt",
    *(f"engines/viewer/assets/{path.name}" for path in (ROOT / "engines/viewer/assets").iterdir()),
}
PARTS = ("engines", "export", "reference")
# Of the conformance suite: what the demo's distribution holds, and what none does, for this repository alone.
DEMO_PARTS = ("bench", "compare", "mutants", "study", "vectors")
NO_PARTS = ("fuzz", "rules/on_the_reference", "rules/planted", "tools")
DEMO_DATA = {"conformance/bench/expected.json"}
SUITE_DATA = {"conformance/isolated.ini"}
# What the demo's distribution holds beside them.
DEMO_FOLDERS = ("reference/demo/weights/", "reference/pictograms/", "reference/train/")
# Runs commands in one process, which imports torch once: prints the status of each and what it printed.
TRY = """
import contextlib, io, json, sys
from mulo_sd.__main__ import main
ends = []
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["mulo-sd", *arguments]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main()
        except SystemExit as stop:
            status = stop.code
    ends.append([int(status or 0), out.getvalue(), err.getvalue()])
print(json.dumps(ends))
"""
PROJECTS = ("pyproject.toml", "conformance/pyproject.toml", "reference/demo/pyproject.toml")
DEMO_MISSING = 'not installed; install {} with `pip install "mulo-sd[demo]"`\n'
SUITE_MISSING = 'the conformance suite is not installed; install it with `pip install "mulo-sd[{}]"`\n'
NO_TORCH = "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n"


def files_of(wheel: Path) -> dict[str, int]:
    """Return the sizes of what a wheel installs."""
    with zipfile.ZipFile(wheel) as archive:
        return {item.filename: item.file_size for item in archive.infolist()}


def modules_of(*folders: str) -> set[str]:
    """Return the modules in folders of the repository, by their paths in it."""
    paths = [path.relative_to(ROOT) for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return {path.as_posix() for path in paths if "build" not in path.parts}


def held_by(wheel: Path) -> set[str]:
    """Return what a wheel adds to the package, by paths in it, and check that it adds to nothing else."""
    held = {name for name in files_of(wheel) if ".dist-info/" not in name}
    assert all(name.startswith("mulo_sd/") for name in held)
    return {name.removeprefix("mulo_sd/") for name in held}


def projects() -> list[dict[str, Any]]:
    """Return what the pyproject.toml of each distribution says of it: mulo-sd's, the suite's, the demo's."""
    return [tomllib.loads((ROOT / path).read_text(encoding="utf-8"))["project"] for path in PROJECTS]


def run(
    python: Path, folder: Path, *arguments: str, path: str = "", bundles: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run an environment's interpreter in a folder, apart from this process's own paths."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MULO_SD"))}
    command = [str(python), *arguments]
    variables |= {"PYTHONPATH": path} if path else {}
    variables |= {} if bundles is None else {"MULO_SD_BUNDLES": str(bundles)}
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=300, check=False)


def try_commands(python: Path, folder: Path, *commands: list[str], path: str = "") -> list[tuple[int, str, str]]:
    """Run commands of `mulo-sd` in one process of an environment: status, standard output and error of each."""
    done = run(python, folder, "-c", TRY, json.dumps(commands), path=path)
    assert done.returncode == 0, done.stderr
    return [tuple(end) for end in json.loads(done.stdout)]


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    inside = {name for name in modules_of(*PARTS) if not name.startswith(DEMO_FOLDERS)}
    own = {path.name for path in (ROOT / "mulo_sd").glob("*.py")}
    assert held_by(wheel) == inside | own | DATA


def test_the_suite_is_a_distribution_of_its_own(suite_wheel: Path) -> None:
    others = tuple(f"conformance/{part}/" for part in (*DEMO_PARTS, *NO_PARTS))
    suite = {name for name in modules_of("conformance") if not name.startswith(others)}
    assert "conformance/calibrate/__main__.py" in suite
    assert held_by(suite_wheel) == suite | SUITE_DATA


def test_the_wheel_is_small(wheel: Path) -> None:
    sizes = files_of(wheel)
    print(f"wheel {wheel.stat().st_size:,} bytes, installed {sum(sizes.values()):,}")
    assert wheel.stat().st_size < MAX_BYTES
    assert sum(sizes.values()) < MAX_BYTES


def test_the_demo_is_a_distribution_of_its_own(
    wheel: Path, suite_wheel: Path, sources: Path, installed_suite: Path, tmp_path: Path
) -> None:
    """Installed beside the others it adds what they leave out, and its commands run."""
    site = tmp_path / "site"
    build_files(sources / "reference" / "demo", site)
    demo = {path.relative_to(site / "mulo_sd").as_posix() for path in site.rglob("*") if path.is_file()}
    assert not demo & (held_by(wheel) | held_by(suite_wheel))
    folders = [path for folder in DEMO_FOLDERS for path in (ROOT / folder).rglob("*")]
    expected = {path.relative_to(ROOT).as_posix() for path in folders if path.is_file() and path.suffix != ".pyc"}
    assert demo == expected | modules_of(*(f"conformance/{part}" for part in DEMO_PARTS)) | DEMO_DATA
    shutil.copytree(site_of(installed_suite) / "mulo_sd", site / "mulo_sd", dirs_exist_ok=True)
    program = "from mulo_sd.reference.demo import models; print(len(models.check_hashes()))"
    done = run(installed_suite, tmp_path, "-c", program, path=str(site))
    assert done.stdout == "10\n", done.stderr
    asked = (*DEMO_PARTS, "draw")
    ends = try_commands(installed_suite, tmp_path, *([name, "--help"] for name in asked), path=str(site))
    for name, (status, printed, error) in zip(asked, ends, strict=True):
        assert (status, error) == (0, "")
        assert printed.startswith(f"usage: mulo-sd {name} ")


def test_the_wheels_share_no_file(wheel: Path, suite_wheel: Path) -> None:
    assert not {*files_of(wheel)} & {*files_of(suite_wheel)}


def test_the_distributions_have_one_version() -> None:
    project, suite, demo = projects()
    version = project["version"]
    assert suite["dependencies"] == [f"mulo-sd[reference]=={version}"]
    assert demo["dependencies"] == [f"mulo-sd[reference]=={version}", f"{suite['name']}=={version}"]
    for other in (suite, demo):
        for name in ("version", "requires-python"):
            assert other[name] == project[name]
    assert suite["license"] == project["license"]
    # The pictograms' drawings and names have licenses of their own, which lie beside them.
    assert demo["license"] == f"{project['license']} AND OFL-1.1 AND Unicode-DFS-2016"


def test_one_extra_each_asks_for_a_distribution_of_ours() -> None:
    """A checkout has their files: whatever else it installs fetches none of them."""
    project, suite, demo = projects()
    extras = project["optional-dependencies"]
    asked = {"conformance": [f"{suite['name']}=={suite['version']}"], "demo": [f"{demo['name']}=={demo['version']}"]}
    for name, needs in extras.items():
        ours = [need for need in needs if need.startswith("mulo-sd-")]
        assert ours == asked.get(name, [])
        included = ",".join(re.findall(r"^mulo-sd\[(.*)\]$", "\n".join(needs), re.MULTILINE)).split(",")
        assert not {*asked} & {*included}
    named = {extra for command in COMMANDS.values() for extra in command.extras.split(",") if extra}
    assert {*asked} < named <= {*extras}


def test_the_installed_script(installed: Path, tmp_path: Path) -> None:
    script = str(installed.with_name("mulo-sd"))
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    asked = run(installed, tmp_path, script, "--version")
    assert (asked.returncode, asked.stdout) == (0, f"mulo-sd {version}\n")
    none, wrong = run(installed, tmp_path, script), run(installed, tmp_path, script, "nonsense")
    assert none.returncode == wrong.returncode == 2
    assert none.stderr.startswith("usage: mulo-sd COMMAND [options]\n")
    assert none.stdout == wrong.stdout == ""
    assert wrong.stderr == f"mulo-sd: error: expected one of {', '.join(COMMANDS)}, got 'nonsense'\n"
    listed = run(installed, tmp_path, script, "--help")
    assert listed.returncode == 0
    assert all(f"  {name} " in listed.stdout for name in COMMANDS)


def test_every_command_has_its_own_help(installed: Path, tmp_path: Path) -> None:
    """And what needs another distribution says so in a line where it is not installed."""
    names = [name for name in COMMANDS if name not in (*DEMO_PARTS, "train", "conformance", "calibrate")]
    ends = try_commands(
        installed,
        tmp_path,
        *([name, "--help"] for name in names),
        ["train", "tokenizer", "--world", "pictograms", "--out", "trained"],
        ["study", "--out", "study"],
        ["compare", "--out", "compare"],
        ["mutants"],
        ["bench", "--quick"],
        ["vectors", "write", "--help"],
        ["draw", "a red star", "--out", "star.png"],
        ["build", "--out", "bundle"],
        ["generate", "a red star", "--out", "star.png"],
        ["conformance", "--help"],
        ["calibrate", "--help"],
    )
    for name, (status, printed, error) in zip(names, ends, strict=False):
        assert (status, error) == (0, "")
        assert printed.startswith(f"usage: mulo-sd {name} ")
        assert "python -m" not in printed.partition("options:")[0]
    *without, draw, build_, generate, suite, calibrate = ends[len(names) :]
    for name, end in zip(("train", "study", "compare", "mutants", "bench", "vectors"), without, strict=True):
        assert end == (2, "", f"mulo-sd {name}: error: the demo is {DEMO_MISSING.format('it')}")
    for end in (draw, build_):
        assert end == (2, "", f"error: the demo's weights are {DEMO_MISSING.format('them')}")
    assert generate[:2] == (2, "")
    assert 'nothing to build it with; install what builds it with `pip install "mulo-sd[demo]"`' in generate[2]
    assert generate[2].count("\n") == 1
    assert suite == (2, "", f"mulo-sd conformance: error: {SUITE_MISSING.format('test,conformance')}")
    assert calibrate == (2, "", f"mulo-sd calibrate: error: {SUITE_MISSING.format('conformance')}")
    assert list(tmp_path.iterdir()) == []


def test_the_suite_runs_from_its_installed_files(installed_suite: Path, minimal_bundle: Path, tmp_path: Path) -> None:
    """Without the demo, whose commands still say so: a law on an engine, and the search for settings."""
    calibrate, bench = try_commands(installed_suite, tmp_path, ["calibrate", "--help"], ["bench", "--help"])
    assert (calibrate[0], calibrate[2]) == (0, "")
    assert calibrate[1].startswith("usage: mulo-sd calibrate ")
    assert bench == (2, "", f"mulo-sd bench: error: the demo is {DEMO_MISSING.format('it')}")
    suite = run(installed_suite, tmp_path, "-m", "mulo_sd", "conformance", "--help")
    assert suite.returncode == 0
    assert suite.stdout.startswith("usage: mulo-sd conformance ")
    law = "engines/test_laws.py::test_law[minimal-fp32-passes_are_counted]"
    arguments = ("-m", "mulo_sd", "conformance", "-n0", "-q", law)
    held = run(installed_suite, tmp_path, *arguments, bundles=minimal_bundle.parent)
    assert held.returncode == 0, held.stdout + held.stderr
    assert "\n1 passed" in held.stdout


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["-m", "mulo_sd", "build"], 'mulo-sd build: error: torch is {} "mulo-sd[export]"`'),
        (["-m", "mulo_sd.export.build"], 'error: torch is {} "mulo-sd[export]"`'),
        (["-m", "mulo_sd", "draw", "a red star"], 'mulo-sd draw: error: torch is {} "mulo-sd[demo]"`'),
        (["-m", "mulo_sd.reference.demo.accuracy"], 'error: torch is {} "mulo-sd[reference]"`'),
    ],
)
def test_a_missing_extra_is_named_in_a_line(
    arguments: list[str], line: str, installed_suite: Path, tmp_path: Path
) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "torch.py").write_text(NO_TORCH)
    done = run(installed_suite, tmp_path, *arguments, path=str(tmp_path / "hidden"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == line.format("not installed; install it with `pip install") + "\n"


@pytest.mark.parametrize("checkout", [False, True])
def test_the_old_name_of_the_benchmark_says_where_it_went(checkout: bool, installed: Path, tmp_path: Path) -> None:
    python, folder = (Path(sys.executable), ROOT) if checkout else (installed, tmp_path)
    done = run(python, folder, "-m", "engines.bench" if checkout else "mulo_sd.engines.bench")
    line = "error: the benchmark is `python -m conformance.bench` in a checkout, else `mulo-sd bench`\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)


def test_an_editable_install_needs_no_symbolic_links(sources: Path, tmp_path: Path) -> None:
    """As on Windows: the finder of setuptools maps the four folders, what no wheel of theirs holds included."""
    copy = shutil.copytree(sources, tmp_path / "copy", ignore=shutil.ignore_patterns("*.safetensors", "build"))
    assert not (copy / "mulo_sd" / "engines").exists()
    python = make_environment(tmp_path / "venv", build(copy, tmp_path / "wheel", "build_editable"))
    program = (
        "from importlib.util import find_spec; from pathlib import Path; import mulo_sd.engines.numbers as numbers; "
        "print(Path(numbers.__file__).parent.parent == Path.cwd().parent / 'copy', "
        "find_spec('mulo_sd.conformance.tools') is not None)"
    )
    (tmp_path / "elsewhere").mkdir()
    done = run(python, tmp_path / "elsewhere", "-c", program)
    assert done.stdout == "True True\n", done.stderr
