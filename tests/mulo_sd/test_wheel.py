"""The distributions: what each holds, how large it is, and that the commands run where a wheel alone is installed."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from mulo_sd.commands import COMMANDS
from tests.mulo_sd.packaging import ROOT, build, build_files, make_environment, site_of

# Of the wheel's file, and of what it installs.
MAX_BYTES = 2_000_000
DATA = {
    "py.typed",
    "conformance/isolated.ini",
    "engines/conditions/imagenet_classes.txt",
    *(f"engines/viewer/assets/{path.name}" for path in (ROOT / "engines/viewer/assets").iterdir()),
}
PARTS = ("conformance", "engines", "export", "reference")
# Folders that the wheel leaves out: for this repository, or of the demo's distribution.
LEFT_OUT = (
    "conformance/bench",
    "conformance/compare",
    "conformance/fuzz",
    "conformance/mutants",
    "conformance/rules/on_the_reference",
    "conformance/rules/planted",
    "conformance/study",
    "conformance/tools",
    "conformance/vectors",
    "reference/demo/train",
    "reference/demo/weights",
)
# Of the conformance suite, what the demo's distribution holds.
DEMO_PARTS = ("bench", "compare", "mutants", "study", "vectors")
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
DEMO_MISSING = 'not installed; install {} with `pip install "mulo-sd[demo]"`\n'
NO_TORCH = "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n"


def files_of(wheel: Path) -> dict[str, int]:
    """Return the sizes of what a wheel installs."""
    with zipfile.ZipFile(wheel) as archive:
        return {item.filename: item.file_size for item in archive.infolist()}


def run(python: Path, folder: Path, *arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    """Run an environment's interpreter in a folder, apart from this process's own paths."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MULO_SD"))}
    command = [str(python), *arguments]
    variables |= {"PYTHONPATH": path} if path else {}
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=300, check=False)


def try_commands(python: Path, folder: Path, *commands: list[str]) -> list[tuple[int, str, str]]:
    """Run commands of `mulo-sd` in one process of an environment: status, standard output and error of each."""
    done = run(python, folder, "-c", TRY, json.dumps(commands))
    assert done.returncode == 0, done.stderr
    return [tuple(end) for end in json.loads(done.stdout)]


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    inside = {
        path.relative_to(ROOT).as_posix()
        for part in PARTS
        for path in (ROOT / part).rglob("*.py")
        if "build" not in path.parts
    }
    inside = {name for name in inside if not name.startswith(LEFT_OUT)}
    own = {path.name for path in (ROOT / "mulo_sd").glob("*.py")}
    held = {name for name in files_of(wheel) if ".dist-info/" not in name}
    assert held == {f"mulo_sd/{name}" for name in inside | own | DATA}


def test_the_wheel_is_small(wheel: Path) -> None:
    sizes = files_of(wheel)
    print(f"wheel {wheel.stat().st_size:,} bytes, installed {sum(sizes.values()):,}")
    assert wheel.stat().st_size < MAX_BYTES
    assert sum(sizes.values()) < MAX_BYTES


def test_the_demo_is_a_distribution_of_its_own(wheel: Path, sources: Path, installed: Path, tmp_path: Path) -> None:
    """Installed beside the other it adds what that leaves out, and its commands run."""
    site = tmp_path / "site"
    build_files(sources / "reference" / "demo", site)
    demo = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    assert not {*files_of(wheel)} & demo
    reference = [path for path in (ROOT / "reference").rglob("*") if path.suffix in (".py", ".json", ".safetensors")]
    expected = {f"mulo_sd/{path.relative_to(ROOT).as_posix()}" for path in reference}
    assert {name for name in {*files_of(wheel)} | demo if name.startswith("mulo_sd/reference/")} == expected
    parts = [path for part in DEMO_PARTS for path in (ROOT / "conformance" / part).rglob("*.py")]
    expected = {f"mulo_sd/{path.relative_to(ROOT).as_posix()}" for path in parts}
    expected.add("mulo_sd/conformance/bench/expected.json")
    assert {name for name in demo if name.startswith("mulo_sd/conformance/")} == expected
    shutil.copytree(site_of(installed) / "mulo_sd", site / "mulo_sd", dirs_exist_ok=True)
    program = (
        "import sys; from mulo_sd.reference.demo import models; print(len(models.check_hashes()), flush=True); "
        "from mulo_sd.__main__ import main; sys.argv = ['mulo-sd', 'train', 'drafter_1', '--help']; main()"
    )
    done = run(installed, tmp_path, "-c", program, path=str(site))
    assert done.stdout.startswith("10\nusage: mulo-sd train [-h]"), done.stderr


def test_both_distributions_have_one_version() -> None:
    project, demo = (
        tomllib.loads((ROOT / path).read_text(encoding="utf-8"))["project"]
        for path in ("pyproject.toml", "reference/demo/pyproject.toml")
    )
    version = project["version"]
    assert demo["version"] == version
    assert demo["dependencies"] == [f"mulo-sd[reference]=={version}"]
    assert project["optional-dependencies"]["demo"] == [f"{demo['name']}=={version}"]
    for name in ("license", "requires-python"):
        assert demo[name] == project[name]


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
    """And what needs the demo says so in a line where it is not installed."""
    names = [name for name in COMMANDS if name not in (*DEMO_PARTS, "train")]
    ends = try_commands(
        installed,
        tmp_path,
        *([name, "--help"] for name in names),
        ["train", "drafter_1"],
        ["study", "--out", "study"],
        ["compare", "--out", "compare"],
        ["mutants"],
        ["bench", "--quick"],
        ["vectors", "write", "--help"],
        ["draw", "a red star", "--out", "star.png"],
        ["build", "--out", "bundle"],
        ["generate", "a red star", "--out", "star.png"],
    )
    for name, (status, printed, error) in zip(names, ends, strict=False):
        assert (status, error) == (0, "")
        assert printed.startswith(f"usage: mulo-sd {name} ")
        assert "python -m" not in printed.partition("options:")[0]
    *without, draw, build_, generate = ends[-9:]
    for name, end in zip(("train", "study", "compare", "mutants", "bench", "vectors"), without, strict=True):
        assert end == (2, "", f"mulo-sd {name}: error: the demo is {DEMO_MISSING.format('it')}")
    for end in (draw, build_):
        assert end == (2, "", f"error: the demo's weights are {DEMO_MISSING.format('them')}")
    assert generate[:2] == (2, "")
    assert 'nothing to build it with; install what builds it with `pip install "mulo-sd[demo]"`' in generate[2]
    assert generate[2].count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["-m", "mulo_sd", "build"], 'mulo-sd build: error: torch is {} "mulo-sd[export]"`'),
        (["-m", "mulo_sd.export.build"], 'error: torch is {} "mulo-sd[export]"`'),
        (["-m", "mulo_sd", "draw", "a red star"], 'mulo-sd draw: error: torch is {} "mulo-sd[demo]"`'),
        (["-m", "mulo_sd.reference.demo.accuracy"], 'error: torch is {} "mulo-sd[reference]"`'),
    ],
)
def test_a_missing_extra_is_named_in_a_line(arguments: list[str], line: str, installed: Path, tmp_path: Path) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "torch.py").write_text(NO_TORCH)
    done = run(installed, tmp_path, *arguments, path=str(tmp_path / "hidden"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == line.format("not installed; install it with `pip install") + "\n"


@pytest.mark.parametrize("checkout", [False, True])
def test_the_old_name_of_the_benchmark_says_where_it_went(checkout: bool, installed: Path, tmp_path: Path) -> None:
    python, folder = (Path(sys.executable), ROOT) if checkout else (installed, tmp_path)
    done = run(python, folder, "-m", "engines.bench" if checkout else "mulo_sd.engines.bench")
    line = "error: the benchmark is `python -m conformance.bench` in a checkout, else `mulo-sd bench`\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)


def test_an_editable_install_needs_no_symbolic_links(sources: Path, tmp_path: Path) -> None:
    """As on Windows: the finder of setuptools maps the four folders, those that a wheel leaves out included."""
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
