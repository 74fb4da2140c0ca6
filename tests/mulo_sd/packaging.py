"""Distributions built and installed as pip does."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# What a checkout has and what no distribution is made of.
IGNORED = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info", "build", "dist", "bundles", "runs")
SOURCES = ("conformance", "engines", "export", "reference", "mulo_sd")
FILES = ("CHANGELOG.md", "LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.py")
BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"


def copy_sources(folder: Path) -> Path:
    """Copy what the distributions are built from, without the links that a system may lack."""
    folder.mkdir(parents=True)
    for name in SOURCES:
        links = tuple(path.name for path in (ROOT / name).iterdir() if path.is_symlink())
        shutil.copytree(
            ROOT / name,
            folder / name,
            ignore=lambda place, names, links=links: {*IGNORED(place, names), *(set(links) & set(names))},
        )
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)
    return folder


def build(folder: Path, out: Path, kind: str = "build_wheel") -> Path:
    """Build a distribution as pip does; return its file."""
    out.mkdir(exist_ok=True)
    command = [sys.executable, "-c", BUILD, kind, str(out)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return out / done.stdout.split()[-1]


def build_files(folder: Path, out: Path) -> None:
    """Write the files that a distribution's wheel would hold into a folder; packing the demo's takes seconds."""
    command = [sys.executable, "-c", "from setuptools import setup; setup()", "-q", "build", "--build-lib", str(out)]
    subprocess.run(command, cwd=folder, timeout=300, check=True)


def make_environment(folder: Path, *wheels: Path) -> Path:
    """Install wheels into a new virtual environment that borrows this one's dependencies; return its interpreter.

    Nothing of this environment's own `mulo_sd` is seen there: files that name paths count in an environment's own
    folder alone.
    """
    venv.create(folder, symlinks=True, with_pip=False)
    scripts = folder / ("Scripts" if sys.platform == "win32" else "bin")
    python = scripts / Path(sys.executable).name
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-compile", "--ignore-installed", "--disable-pip-version-check", *map(str, wheels)]
    # In a checkout lies what an editable install writes there: found on a path, it would count as installed.
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    subprocess.run(command, cwd=folder, env=variables, timeout=300, check=True)
    borrowed = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (site_of(python) / "zz_borrowed.pth").write_text("\n".join(borrowed) + "\n", encoding="utf-8")
    return python


def site_of(python: Path) -> Path:
    """Return where an environment keeps its packages."""
    folder = python.parent.parent
    return Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))
