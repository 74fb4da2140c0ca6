"""The command writes a repository whole or not at all, and replaces nothing that is not its own."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mulo_sd.engines.bundle.open import open_bundle
from mulo_sd.engines.triton.options import ModelOptions
from mulo_sd.export.triton.config import config_text
from tests.in_process import InProcess

MODULE = "mulo_sd.export.triton.__main__"


def files_of(folder: Path) -> dict[str, bytes]:
    """Return all files of a folder by their paths in it."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_repository(in_process: InProcess, minimal_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "repository"
    arguments = ["--bundle", f"one={minimal_bundle}", "--bundle", str(minimal_bundle), "--out", str(out)]
    done = in_process.run(MODULE, *arguments, "--size", "7", "--model-version", "12")
    assert (done.returncode, done.stderr) == (0, "")
    own = minimal_bundle.name
    assert done.stdout.splitlines()[:2] == [f"{out / name}: mulo-sd minimal, version 12" for name in ("one", own)]
    files, source = files_of(out), files_of(minimal_bundle)
    for name in ("one", own):
        prefix = f"{name}/12/bundle/"
        held = {path.removeprefix(prefix): content for path, content in files.items() if path.startswith(prefix)}
        assert held == {path: source[path] for path in held}
        named = {entry.path for entry in open_bundle(minimal_bundle).manifest.files()}
        assert set(held) == {"manifest.json", *named}
        config = files[f"{name}/config.pbtxt"].decode()
        assert f'name: "{name}"\n' in config
        assert 'key: "size"\n  value: { string_value: "7" }' in config
        assert hashlib.sha256(source["manifest.json"]).hexdigest() in config
    assert open_bundle(out / "one" / "12" / "bundle").manifest == open_bundle(minimal_bundle).manifest
    assert [path.name for path in tmp_path.iterdir()] == ["repository"]


def test_a_copy_is_not_the_original(in_process: InProcess, minimal_bundle: Path, tmp_path: Path) -> None:
    """What is written into the one must not change the other."""
    bundle = shutil.copytree(minimal_bundle, tmp_path / "bundle")
    assert in_process.run(MODULE, "--bundle", str(bundle), "--out", str(tmp_path / "out")).returncode == 0
    copy = tmp_path / "out" / "bundle" / "1" / "bundle" / "codes.npy"
    before = copy.read_bytes()
    with (bundle / "codes.npy").open("r+b") as file:
        file.write(b"changed")
    assert copy.read_bytes() == before
    assert copy.stat().st_nlink == 1


def test_force_replaces_its_own(in_process: InProcess, minimal_bundle: Path, tmp_path: Path) -> None:
    """What Python leaves beside a model that ran counts as its own."""
    out = tmp_path / "out"
    arguments = ["--bundle", f"m={minimal_bundle}", "--out", str(out)]
    assert in_process.run(MODULE, *arguments).returncode == 0
    before = files_of(out)
    done = in_process.run(MODULE, *arguments)
    line = f"error: {out}: there is a repository already; use it, or replace it with --force\n"
    assert (done.returncode, done.stderr, files_of(out)) == (2, line, before)
    (out / "m" / "1" / "__pycache__").mkdir()
    (out / "m" / "1" / "__pycache__" / "model.cpython-312.pyc").touch()
    done = in_process.run(MODULE, *arguments, "--force", "--queue", "3")
    assert (done.returncode, done.stderr) == (0, "")
    assert 'key: "queue"\n  value: { string_value: "3" }' in files_of(out)["m/config.pbtxt"].decode()
    assert not (out / "m" / "1" / "__pycache__").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("strange", ["notes.txt", "m/notes.txt", "m/1/bundle/notes.txt", "m/1/__pycache__/other.pyc"])
def test_what_is_somebody_elses_stays(
    in_process: InProcess, minimal_bundle: Path, tmp_path: Path, strange: str
) -> None:
    out = tmp_path / "out"
    arguments = ["--bundle", f"m={minimal_bundle}", "--out", str(out), "--force"]
    assert in_process.run(MODULE, *arguments).returncode == 0
    (out / strange).parent.mkdir(exist_ok=True)
    (out / strange).write_text("mine")
    before = files_of(out)
    done = in_process.run(MODULE, *arguments)
    assert (done.returncode, files_of(out)) == (2, before)
    assert done.stderr.startswith(f"error: {out}: expected nothing but a repository that `mulo-sd triton` wrote, found")


@pytest.mark.parametrize("record", [None, "{}", "[", '{"format": 2, "files": []}', '{"format": 1, "files": 3}'])
def test_a_folder_that_is_no_repository(
    in_process: InProcess, minimal_bundle: Path, tmp_path: Path, record: str | None
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    if record is not None:
        (tmp_path / "mulo-sd-triton.json").write_text(record)
    before = files_of(tmp_path)
    done = in_process.run(MODULE, "--bundle", f"m={minimal_bundle}", "--out", str(tmp_path), "--force")
    assert (done.returncode, files_of(tmp_path)) == (2, before)
    assert "expected an empty folder or a repository that `mulo-sd triton` wrote" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_record_that_lists_what_no_export_writes(in_process: InProcess, minimal_bundle: Path, tmp_path: Path) -> None:
    """A doctored record makes nobody's file ours."""
    out = tmp_path / "out"
    arguments = ["--bundle", f"m={minimal_bundle}", "--out", str(out), "--force"]
    assert in_process.run(MODULE, *arguments).returncode == 0
    (out / "thesis.txt").write_text("mine")
    record = json.loads((out / "mulo-sd-triton.json").read_text())
    record["files"]["thesis.txt"] = "0" * 64
    (out / "mulo-sd-triton.json").write_text(json.dumps(record))
    assert in_process.run(MODULE, *arguments).returncode == 2
    assert (out / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("inside", [".", "onnx", "new/repository"])
def test_a_repository_in_its_bundle(in_process: InProcess, minimal_bundle: Path, tmp_path: Path, inside: str) -> None:
    bundle = shutil.copytree(minimal_bundle, tmp_path / "bundle")
    (tmp_path / "link").symlink_to(bundle, target_is_directory=True)
    before = files_of(bundle)
    out = tmp_path / "link" / inside
    done = in_process.run(MODULE, "--bundle", f"m={bundle}", "--out", str(out), "--force")
    assert (done.returncode, files_of(bundle)) == (2, before)
    line = f"error: {out.resolve()}: expected a folder outside the bundle {bundle}, got one in it; give another --out\n"
    assert done.stderr == line


@pytest.mark.parametrize("name", ["a b", "../x", "", "é", "a" * 300, ".x", "a/b"])
def test_a_name_that_no_model_may_have(in_process: InProcess, minimal_bundle: Path, tmp_path: Path, name: str) -> None:
    """The line is about the name, whose folder is there."""
    text = f"{name}={minimal_bundle}"
    done = in_process.run(MODULE, "--bundle", text, "--out", str(tmp_path / "out"))
    rule = "NAME of at most 100 of A-Z, a-z, 0-9, '.', '_' and '-', the first one a letter or a digit"
    expected = f"error: bundle: expected NAME=DIR, such as demo=bundles/demo-fp32, {rule}; got {text!r:.80}\n"
    assert (done.returncode, done.stderr) == (2, expected)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--bundle", "nowhere"], "nowhere: expected a bundle's folder, found none"),
        (
            ["--bundle", "a b=nowhere"],
            "bundle: expected NAME=DIR, such as demo=bundles/demo-fp32, NAME of at most 100 ",
        ),
        (["--bundle", "m=x", "--bundle", "m=y"], "bundle: expected a name of its own for each, got m twice"),
        (["--bundle", "x", "--size", "0"], "size: expected greater than or equal to 1, got 0"),
        (["--bundle", "x", "--deadline", "nan"], "deadline: expected "),
        (["--bundle", "x", "--instances", "0"], "instances: expected a whole number in 1..64, got 0"),
        (["--bundle", "x", "--model-version", "0"], "model-version: expected a whole number in 1.."),
        (["--bundle", "x", "--container", "26.07"], "container: expected one whose TensorRT is known, 25.01-trtllm-"),
    ],
)
def test_what_cannot_be_asked_for(in_process: InProcess, tmp_path: Path, arguments: list[str], line: str) -> None:
    done = in_process.run(MODULE, *arguments, "--out", str(tmp_path / "out"), folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {line}"), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_changed_bundle_is_not_exported(in_process: InProcess, minimal_bundle: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(minimal_bundle, tmp_path / "bundle")
    content = bytearray((bundle / "codes.npy").read_bytes())
    content[-1] ^= 1
    (bundle / "codes.npy").write_bytes(content)
    done = in_process.run(MODULE, "--bundle", str(bundle), "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert "codes.npy: expected sha256 " in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_place_that_cannot_be_written(in_process: InProcess, minimal_bundle: Path) -> None:
    done = in_process.run(MODULE, "--bundle", str(minimal_bundle), "--out", "/proc/repository")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: /proc/repository: cannot write the repository: No such file or directory\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_export_leaves_nothing(demo_bundle: Path, tmp_path: Path, number: int) -> None:
    """The demo's bundle, since it takes a while."""
    bundles = [word for name in range(3) for word in ("--bundle", f"m{name}={demo_bundle}")]
    command = [sys.executable, "-m", MODULE, *bundles, "--out", str(tmp_path / "out")]
    with subprocess.Popen(command, env=dict(os.environ), stderr=subprocess.PIPE, text=True) as process:
        while not any(tmp_path.glob(".out.partial-*/out/m0")):
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.005)
        process.send_signal(number)
        assert process.communicate(timeout=60)[1].startswith("error: interrupted")
    assert process.returncode == 130
    assert not list(tmp_path.iterdir())


def test_texts_are_quoted() -> None:
    """A name of a file or of a backend may hold what protobuf's text format reads otherwise."""
    options = ModelOptions(manifest_sha256="0" * 64, text_model='a "b"\\c\né', bundle='a\nparameters { key: "b" }')
    config = config_text("m", options, (16, 16), "cpu", 1)
    assert config.startswith('# "a\\nparameters { key: \\"b\\" }", written by `mulo-sd triton`.\nname: "m"\n')
    assert '{ string_value: "a \\"b\\"\\\\c\\n\\303\\251" }' in config
    assert config.isascii()
