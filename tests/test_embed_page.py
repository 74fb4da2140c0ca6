"""docs/embed.md: its blocks of Python run, one after the other, and its tables are whole."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mulo_sd import engines
from mulo_sd.engines.backends import BACKENDS

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "embed.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_the_blocks_run(
    minimal_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a smaller bundle of the same grammar; a block with a main module's guard is a program of its own."""
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles" / "demo-fp32").symlink_to(minimal_bundle, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in BLOCKS:
        if "__main__" in block:
            Path("program.py").write_text(block, encoding="utf-8")
            done = subprocess.run(
                [sys.executable, "program.py"], capture_output=True, text=True, timeout=300, check=True
            )
            assert done.stdout == "2\n"
        else:
            exec(compile(block, "docs/embed.md", "exec"), names)
    message = re.findall(r"print\(error\)  # (.*)", PAGE)
    assert len(message) == 1
    assert message[0] in capsys.readouterr().out.splitlines()
    assert Path("star.png").is_file()
    assert Path("circle.png").is_file()


def test_the_page_says_what_each_backend_takes() -> None:
    """A column for each: TensorRT's two share one."""
    head = re.search(r"^\| \| (`ort`.*) \|$", PAGE, re.MULTILINE)
    assert head is not None
    assert tuple(re.findall(r"`([\w-]+)`", head[1])) == BACKENDS


def test_the_page_names_every_variable() -> None:
    """No more, no fewer than the engines and their commands read."""
    folder = Path(engines.__path__[0])
    read = {name for path in folder.rglob("*.py") for name in re.findall(r"\bMULO_SD_[A-Z_]+", path.read_text("utf-8"))}
    table = re.search(r"^\| variable \|.*?\n\n", PAGE, re.DOTALL | re.MULTILINE)
    assert table is not None
    assert read == set(re.findall(r"`(MULO_SD_\w+)`", table[0]))


def test_the_page_names_every_public_error() -> None:
    errors = {name for name in engines.__all__ if name.endswith("Error")}
    table = dict(re.findall(r"^\| `([\w.]+)` \| `(\w+)` \|", PAGE, re.MULTILINE))
    assert {*table} == errors | {"concurrent.futures.CancelledError"}
    for name in errors:
        assert table[name] in [kind.__name__ for kind in getattr(engines, name).__mro__[1:]]
