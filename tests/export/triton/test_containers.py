"""A bundle's plans are held against the TensorRT of the server that it is exported for."""

import json
import shutil
from pathlib import Path

import pytest

from mulo_sd.engines.bundle.entries import FileEntry
from mulo_sd.export.triton.containers import TENSORRT_OF_CONTAINER
from tests.in_process import InProcess

MODULE = "mulo_sd.export.triton.__main__"
VERSION = "10.14.1.48"


@pytest.fixture
def planned_bundle(minimal_bundle: Path, tmp_path: Path) -> Path:
    """A bundle whose manifest lists a plan of each graph, of one TensorRT; the plans' files hold nothing to run."""
    folder = shutil.copytree(minimal_bundle, tmp_path / "planned")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "plans" / "trt").mkdir(parents=True)
    for name, graph in manifest["graphs"].items():
        path = folder / "plans" / "trt" / f"{name}.plan"
        path.touch()
        empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        entry = FileEntry(path=f"plans/trt/{name}.plan", sha256=empty, size_bytes=0)
        graph["plans"] = [
            {"backend": "trt", "file": entry.model_dump(), "build_seconds": 1.0, "version": VERSION, "profiles": []}
        ]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize("asked", [["--container", "26.07-trtllm-python-py3"], ["--tensorrt-version", VERSION], []])
def test_plans_of_the_servers_version(in_process: InProcess, planned_bundle: Path, asked: list[str]) -> None:
    out = planned_bundle.with_name("out")
    done = in_process.run(MODULE, "--bundle", str(planned_bundle), "--out", str(out), "--backend", "trt", *asked)
    assert (done.returncode, done.stderr) == (0, "")
    config = (out / "planned" / "config.pbtxt").read_text()
    assert "kind: KIND_GPU\n    count: 1\n    gpus: [ 0 ]" in config
    assert (out / "planned" / "1" / "bundle" / "plans" / "trt" / "target.plan").is_file()


@pytest.mark.parametrize(
    ("asked", "version"),
    [(["--container", "25.06-trtllm-python-py3"], "10.10.0.31"), (["--tensorrt-version", "11.0.0.1"], "11.0.0.1")],
)
def test_plans_of_another_version(in_process: InProcess, planned_bundle: Path, asked: list[str], version: str) -> None:
    out = planned_bundle.with_name("out")
    done = in_process.run(MODULE, "--bundle", str(planned_bundle), "--out", str(out), "--backend", "trt", *asked)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {planned_bundle}: on a server with version {version}: must be rebuilt: ")
    assert f"it was built with TensorRT {VERSION}" in done.stderr
    assert "build it again with `mulo-sd build " in done.stderr
    assert "--backend trt" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not out.exists()


def test_a_bundle_without_plans(in_process: InProcess, minimal_bundle: Path, tmp_path: Path) -> None:
    arguments = ["--bundle", f"m={minimal_bundle}", "--out", str(tmp_path / "out"), "--tensorrt-version", VERSION]
    done = in_process.run(MODULE, *arguments, "--backend", "trt")
    assert done.returncode == 2
    assert "must be rebuilt" in done.stderr
    done = in_process.run(MODULE, *arguments)
    line = "error: tensorrt-version: expected it beside --backend trt-rtx or trt, got --backend ort\n"
    assert (done.returncode, done.stderr) == (2, line)
    assert not list(tmp_path.iterdir())


def test_the_table_is_one_of_versions() -> None:
    assert all(tag[2] == "." and tag.endswith("-trtllm-python-py3") for tag in TENSORRT_OF_CONTAINER)
    assert all(len(version.split(".")) == 4 for version in TENSORRT_OF_CONTAINER.values())
    assert [*TENSORRT_OF_CONTAINER] == sorted(TENSORRT_OF_CONTAINER)
