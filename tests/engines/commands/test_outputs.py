"""Where `engines.generate` writes: through links, told before the decode, whatever standard output can take."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from mulo_sd.engines import generate
from mulo_sd.engines.service.pipeline import Pipeline
from mulo_sd.processes import ROOT

PROMPT = "a red star"


@pytest.fixture
def draw(minimal_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """Run the command in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["generate", *arguments, "--bundle", str(minimal_bundle), "--threads", "1"])
        return generate.main()

    return run


def test_every_output_through_links(draw: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each link stays one; `~` is the home folder."""
    assert callable(draw)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "far").mkdir()
    names = {"out": "a.png", "overlay": "o.png", "storyboard": "s.png", "trace": "t.json", "save-plan": "p.json"}
    names |= {"save-condition": "c.npz", "viewer": "v.html"}
    arguments = []
    for option, name in names.items():
        (tmp_path / name).symlink_to(tmp_path / "far" / name)
        arguments += [f"--{option}", f"~/{name}"]
    assert draw(PROMPT, *arguments) == 0
    assert sorted(path.name for path in (tmp_path / "far").iterdir()) == sorted(names.values())
    assert all((tmp_path / name).is_symlink() for name in names.values())
    with Image.open(tmp_path / "far" / "a.png") as image:
        image.load()
    assert json.loads((tmp_path / "t.json").read_text())["prompt"] == PROMPT
    assert (tmp_path / "v.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    "option", ["--out", "--overlay", "--storyboard", "--viewer", "--trace", "--save-plan", "--save-condition"]
)
def test_what_cannot_be_written_is_told_before_the_decode(
    option: str, draw: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(draw)

    def decode(*_: object, **__: object) -> None:
        raise AssertionError("nothing is decoded")

    monkeypatch.setattr(Pipeline, "decode", decode)
    suffixes = {"--trace": ".json", "--save-plan": ".json", "--save-condition": ".npz", "--viewer": ".html"}
    suffix = suffixes.get(option, ".png")
    path = tmp_path / f"a{suffix}"
    path.symlink_to("/dev/full")
    others = [] if option == "--out" else ["--out", "b.png"]
    assert draw(PROMPT, *others, option, str(path)) == 2
    said = capsys.readouterr()
    assert said.err == f"error: {path}: cannot write it: expected a plain file, got a device or a pipe; write a file\n"
    assert said.out == ""
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_standard_output_that_takes_nothing(minimal_bundle: Path, tmp_path: Path) -> None:
    """The image is there whatever becomes of the figures; a name that the encoding lacks is escaped."""
    command = [
        sys.executable,
        "-m",
        "mulo_sd.engines.generate",
        PROMPT,
        "--bundle",
        str(minimal_bundle),
        "--threads",
        "1",
    ]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*command, "--out", "a.png"], cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")
    assert (tmp_path / "a.png").is_file()
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [*command, "--out", "caf\u00e9 \U0001f600.png"], cwd=tmp_path, env=environment, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(rb"caf\xe9 \U0001f600.png: 16 x 16 pixels")
    assert (tmp_path / "caf\u00e9 \U0001f600.png").is_file()
    wrong = subprocess.run(
        [*command[:3], "a caf\u00e9", *command[4:], "--out", "b.png"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        check=False,
    )
    assert wrong.returncode == 2
    assert wrong.stderr.startswith(rb"error: prompt: unknown word 'caf\xe9'")
    assert wrong.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--out", "a.png", "--overlay", "./a.png"],
            "expected another file for each output, got one for --out",
        ),
        (["--out", "a.png", "--storyboard", "link.png"], "got one for --out and --storyboard"),
        (["--out", "a.png", "--viewer", "{bundle}/v.html"], "for --viewer, got one that is in the bundle"),
        (["--out", "a.png", "--trace", "{bundle}/manifest.json"], "for --trace, got one that is in the bundle"),
        (["--out", "{bundle}/new.png"], "for --out, got one that is in the bundle"),
        (["--out", "a.png", "--plan", "p.json", "--trace", "p.json"], "for --trace, got one that is an input"),
    ],
)
def test_outputs_are_apart_from_each_other_and_from_what_is_read(
    arguments: list[str],
    message: str,
    draw: object,
    minimal_bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert callable(draw)
    (tmp_path / "link.png").symlink_to("a.png")
    (tmp_path / "p.json").write_text("a plan of mine")
    before = (minimal_bundle / "manifest.json").read_bytes()
    assert draw(PROMPT, *(argument.replace("{bundle}", str(minimal_bundle)) for argument in arguments)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
    assert (minimal_bundle / "manifest.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.png", "p.json"]
    assert (tmp_path / "p.json").read_text() == "a plan of mine"


@pytest.mark.parametrize("module", ["mulo_sd.engines.generate", "mulo_sd.export.build", "mulo_sd.conformance.study"])
def test_ctrl_c_while_modules_are_imported(module: str, tmp_path: Path) -> None:
    """It ends in a line there, too; the module that is being imported stands for the moment."""
    (tmp_path / "pydantic.py").write_text("raise KeyboardInterrupt\n")
    path = os.pathsep.join([str(tmp_path), ROOT])
    command = [sys.executable, "-m", module, "--help"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "error: interrupted; nothing was written\n"
