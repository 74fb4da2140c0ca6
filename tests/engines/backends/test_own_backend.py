"""A backend of one's own, from a file in the working folder, in the commands; what they write on stderr is theirs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mulo_sd.engines.named_functions import NameFormError, function_named
from mulo_sd.processes import ROOT

PAGE = Path(ROOT) / "docs" / "write-a-backend.md"
BACKEND = re.compile(r"^<!-- backend -->\n```python\n(.*?)^```\n<!-- /backend -->$", re.DOTALL | re.MULTILINE)


def _run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Draw as a script that `pip` installs does: without the working folder on Python's path (-P)."""
    command = [sys.executable, "-P", "-m", "mulo_sd.engines.generate", "a red circle", "--mode", "parallel", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("backend", ["ort", "my_backend:make"])
def test_a_decode_leaves_stderr_silent(demo_bundle: Path, tmp_path: Path, backend: str) -> None:
    """Ours, and the one that the page shows; both draw with the same passes."""
    (tmp_path / "my_backend.py").write_text(BACKEND.findall(PAGE.read_text(encoding="utf-8"))[0], encoding="utf-8")
    done = _run("--out", "a.png", "--bundle", str(demo_bundle), "--backend", backend, folder=tmp_path)
    assert done.stderr == ""
    assert done.returncode == 0
    assert "passes (NFE): target 42, drafter 58" in done.stdout


def test_a_module_in_the_working_folder_brings_nothing_else_with_it(demo_bundle: Path, tmp_path: Path) -> None:
    """What it imports is found there, but nothing there takes the place of a package that is installed."""
    (tmp_path / "my_backend.py").write_text(
        "def make(bundle, threads):\n    import beside\n    raise RuntimeError(beside.WHY)\n", encoding="utf-8"
    )
    (tmp_path / "beside.py").write_text("WHY = 'there is no such device'\n", encoding="utf-8")
    for name in ("scipy", "numpy", "engines", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a foreign module')\n", encoding="utf-8")
    done = _run("--out", "a.png", "--bundle", str(demo_bundle), "--backend", "my_backend:make", folder=tmp_path)
    assert done.stderr == "error: backend my_backend:make: RuntimeError: there is no such device\n"
    assert done.returncode == 2
    assert not (tmp_path / "a.png").exists()


def test_functions_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "found_nowhere_else.py").write_text("def make():\n    return 3\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = list(sys.path)
    assert function_named("json:dumps")([1]) == "[1]"
    assert sys.path == before
    assert function_named("found_nowhere_else:make")() == 3
    assert sys.path == [*before, str(tmp_path)]
    for name in ("", ":", "a:", ":b", "a.b", "a:b:c", "a b:c", "a/b:c", "a..b:c", ".a:b", "a:b.c", "1a:b", "a\n:b"):
        with pytest.raises(NameFormError):
            function_named(name)
