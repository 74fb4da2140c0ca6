"""How commands end when the outside is at fault: closed pipes, full disks, missing characters; never a traceback."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mulo_sd import processes
from mulo_sd.engines import check_layout

ROOT = Path(processes.ROOT)
FOLDERS = ("engines", "export", "conformance", "reference")
BODY = """
import sys
from mulo_sd.engines.commands.command_line import command

@command
def main():
    {}
    return 0

sys.exit(main())
"""


def run(body: str, **given: object) -> subprocess.CompletedProcess[str]:
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": os.environ, **given}
    # -S and the module alone: what is tried here needs no runtime.
    code = "import sys, types; sys.path.insert(0, ROOT); mulo_sd = types.ModuleType('mulo_sd'); "
    code += "mulo_sd.__path__ = [ROOT + '/mulo_sd']; sys.modules['mulo_sd'] = mulo_sd; "
    code += "engines = types.ModuleType('mulo_sd.engines'); engines.__path__ = [ROOT + '/engines']; "
    code += "sys.modules['mulo_sd.engines'] = engines"
    code = code.replace("ROOT", repr(str(ROOT))) + BODY.format(body)
    return subprocess.run([sys.executable, "-c", code], text=True, check=False, timeout=60, **options)  # type: ignore[call-overload,no-any-return]


def test_every_command_is_one() -> None:
    """Whatever has a `main` of its own ends by the one rule."""
    found = 0
    for folder in FOLDERS:
        for file in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.parse(file.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.FunctionDef) and node.name == "main":
                    assert [ast.unparse(item) for item in node.decorator_list] == ["command"], file
                    found += 1
    assert found >= 14


def closed_pipe() -> int:
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.parametrize("body", ["print('a')", "sys.stdout.write('a' * 100_000)", "import rich; rich.print('a')"])
def test_a_closed_pipe(body: str, tmp_path: Path) -> None:
    """The work is done to its end, and the status is the one of a tool that SIGPIPE ended."""
    writing = closed_pipe()
    done = run(f"{body}; open({str(tmp_path / 'done')!r}, 'w').close()", stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")
    assert (tmp_path / "done").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk() -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123  (a device)
        done = run("print('a')", stdout=full)
        assert done.returncode == 2
        assert done.stderr == "error: standard output: cannot write to it: No space left on device\n"
        assert run("print('a', file=sys.stderr)", stderr=full).returncode == 0
        assert run("print('a'); print('b', file=sys.stderr)", stdout=full, stderr=full).returncode == 2
        assert run("print('a'); sys.exit(5)", stdout=full).returncode == 5


def test_characters_that_the_encoding_lacks() -> None:
    done = run("print('caf\\u00e9 \\U0001f600 \\udcc3')", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stdout) == (0, "caf\\xe9 \\U0001f600 \\udcc3\n"), done.stderr
    done = run("print('caf\\u00e9 \\udcc3')", env={**os.environ, "PYTHONIOENCODING": "utf-8"})
    assert (done.returncode, done.stdout) == (0, "caf\u00e9 \\udcc3\n"), done.stderr


def test_streams_that_are_closed() -> None:
    """A command that began without standard output, as `>&-` makes it, still ends as it should."""
    code = 'exec 1>&- 2>&-; exec "$0" -c "$1"'
    body = "print('a'); print('b', file=sys.stderr); sys.stdout.isatty(); sys.stdout.flush()"
    text = f"import sys; sys.path.insert(0, {str(ROOT)!r})" + BODY.format(body)
    done = subprocess.run(["sh", "-c", code, sys.executable, text], check=False, timeout=60)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ("raise KeyboardInterrupt", 130, "error: interrupted\n"),
        ("open('/no/such/file')", 2, "error: /no/such/file: No such file or directory\n"),
        ("raise MemoryError", 2, "error: not enough memory\n"),
        ("sys.exit(3)", 3, ""),
        ("sys.exit('no')", 1, "no\n"),
        ("sys.exit()", 0, ""),
    ],
)
def test_what_a_command_ends_with(body: str, status: int, told: str) -> None:
    done = run(body)
    assert (done.returncode, done.stderr) == (status, told)


def test_a_fault_of_ours_is_not_hidden() -> None:
    assert "ZeroDivisionError" in run("1 / 0").stderr


def test_help_into_a_closed_pipe() -> None:
    writing = closed_pipe()
    command = [sys.executable, "-m", "mulo_sd.engines.check_layout", "--help"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False, cwd=ROOT)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_streams_are_the_callers_again(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr
    monkeypatch.setattr(sys, "argv", ["check_layout", "nowhere", "--layout", "plain", "--prompts", "nowhere"])
    assert check_layout.main() == 2
    assert (sys.stdout, sys.stderr) == before
    assert capsys.readouterr().err.startswith("error: nowhere")
