"""Two builds of the same models are equal byte by byte, and hold no path of the machine that built them."""

import json
import os
import shutil
import site
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import onnx
import pytest

from mulo_sd.engines.bundle import open_bundle
from mulo_sd.engines.bundle.manifest import MANIFEST_NAME
from mulo_sd.export.manifest import reproducible_date
from mulo_sd.export.own_bundle import BuildError, check_place, known_files
from mulo_sd.processes import ROOT, environment

# Of the modules' weights and of the graphs that are named.
EXPORT = """
import sys
from pathlib import Path
import torch
from mulo_sd.engines.prompts.prefix import FIELDS
from mulo_sd.export.build_graph import save_onnx
from mulo_sd.export.modules import write_head, write_other_modules, write_transformer
from mulo_sd.export.onnx_from_torch import onnx_from_torch
from mulo_sd.export.graphs.listing import specifications
from mulo_sd.reference import minimal
torch.set_num_threads(1)
models = minimal.load()
write_transformer(Path(sys.argv[1]), "target", models.target, torch.float16)
write_other_modules(Path(sys.argv[1]), models, None, torch.float16)
write_head(Path(sys.argv[1]), models.head, torch.float16)
for item in specifications(models, torch.float32, FIELDS):
    if item.name in sys.argv[2:]:
        model = onnx_from_torch(item)
        save_onnx(model, Path(sys.argv[1], f"{item.name}.onnx"))
"""
BUILD = """
import sys
sys.argv = ["build", "--models", "minimal", "--backend", "ort", "--out", sys.argv[1]]
from mulo_sd.export.build import main
assert main() == 0
"""
# A graph with keys and values, one of a trained network and one of arithmetic alone. Where all graphs of a bundle are
# built twice and compared, below, they are not exported twice more.
GRAPHS = () if os.environ.get("CI") else ("target", "decoder", "sampler")
# What may differ, and what does not with SOURCE_DATE_EPOCH.
MEASURED = ("created", "build_seconds", "peak_bytes")
PACKAGES = ("engines", "export", "mulo_sd", "reference")


class Place(NamedTuple):
    """A checkout, and the folder that a program of it writes."""

    root: Path
    out: Path


def _run(program: str, root: Path, out: Path, *arguments: str, **variables: str) -> str:
    """Run a program over the packages of a folder; return what it says of errors."""
    others = environment() | variables | {"PYTHONPATH": str(root)}
    command = [sys.executable, "-c", program, str(out), *arguments]
    done = subprocess.run(command, cwd=root, env=others, capture_output=True, text=True, timeout=900, check=False)
    return done.stderr if done.returncode else ""


def _another_checkout(folder: Path) -> Path:
    """Return a copy of this tree in another folder."""
    copy = folder / "another checkout"
    for package in PACKAGES:
        shutil.copytree(
            Path(ROOT, package), copy / package, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
        )
    return copy


@pytest.fixture(scope="module")
def builds(minimal_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, Place]:
    """The preset `minimal` as all tests share it, and built from a copy of this tree, with sets in another order."""
    if not os.environ.get("CI"):
        pytest.skip("another build: with CI=1 alone")
    folder = tmp_path_factory.mktemp("builds")
    second = Place(_another_checkout(folder), folder / "elsewhere" / "second")
    assert _run(BUILD, *second, PYTHONHASHSEED="2", SOURCE_DATE_EPOCH="1700000000") == ""
    return Place(Path(ROOT), minimal_bundle), second


def _check_equal(first: Path, second: Path) -> list[str]:
    """Check that two folders hold the same files, manifests aside; return their names."""
    names = [sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) for folder in (first, second)]
    assert names[0] == names[1]
    for name in names[0]:
        if (first / name).is_file() and name != MANIFEST_NAME:
            assert (first / name).read_bytes() == (second / name).read_bytes(), name
    return names[0]


def _check_no_paths(place: Place) -> None:
    """Check that no file names the checkout, the packages, the home, the temporary folder, or its own folder."""
    paths = {place.root, place.out.parent, Path.home(), Path(tempfile.gettempdir()), Path(sys.prefix)}
    paths |= {Path(path) for path in site.getsitepackages()} | {Path(onnx.__file__).parents[1]}
    hidden = [os.fsencode(path) for path in paths if path != Path(path.anchor)] + [b"site-packages", b".py"]
    for file in place.out.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert [text for text in hidden if text in content] == [], file
    for file in place.out.rglob("*.onnx"):
        for message in _messages(onnx.load_model(file)):
            assert not getattr(message, "metadata_props", ())
            assert not getattr(message, "doc_string", "")


def _without_measurements(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _without_measurements(value) for name, value in content.items() if name not in MEASURED}
    return [_without_measurements(value) for value in content] if isinstance(content, list) else content


def _messages(message: Any) -> Iterator[Any]:
    """Yield a protobuf message and all within it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for item in value if field.is_repeated else (value,):
                yield from _messages(item)


def test_weights_and_graphs_are_equal_and_hold_no_path(tmp_path: Path) -> None:
    """Exported from two checkouts into two folders: every byte is the same, and none tells where."""
    first = Place(Path(ROOT), tmp_path / "first")
    second = Place(_another_checkout(tmp_path), tmp_path / "elsewhere" / "second")
    with ThreadPoolExecutor() as threads:
        ended = (
            threads.submit(_run, EXPORT, *first, *GRAPHS, PYTHONHASHSEED="1"),
            threads.submit(_run, EXPORT, *second, *GRAPHS, PYTHONHASHSEED="2"),
        )
    assert [errors.result() for errors in ended] == ["", ""]
    names = _check_equal(first.out, second.out)
    assert {"weights/target.safetensors", *(f"{name}.onnx" for name in GRAPHS)} <= set(names)
    for place in (first, second):
        _check_no_paths(place)


def test_bundles_are_equal_and_hold_no_path(builds: tuple[Place, Place]) -> None:
    """All but the date and what the build measured of itself."""
    first, second = builds
    names = _check_equal(first.out, second.out)
    expected = {f"onnx/{name}.onnx" for name in ("target", "decoder", "sampler")} | {"codes.npy", "prompt_grammar.json"}
    assert expected <= set(names)
    manifests = [json.loads((place.out / MANIFEST_NAME).read_text()) for place in builds]
    assert _without_measurements(manifests[0]) == _without_measurements(manifests[1])
    for place in builds:
        _check_no_paths(place)


def test_a_declared_date_leaves_nothing_that_differs(builds: tuple[Place, Place]) -> None:
    """With SOURCE_DATE_EPOCH the manifest says that date, and no seconds or bytes that were measured."""
    usual, declared = (open_bundle(place.out).manifest for place in builds)
    assert all(graph.build_seconds > 0 and graph.peak_bytes > 0 for graph in usual.graphs.values())
    assert all(graph.build_seconds == graph.peak_bytes == 0 for graph in declared.graphs.values())
    assert declared.created == "2023-11-14T22:13:20+00:00" != usual.created


@pytest.mark.parametrize("text", ["yesterday", "-1", "1e9", "9" * 30])
def test_a_date_that_is_none(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
    with pytest.raises(BuildError, match=r"^SOURCE_DATE_EPOCH: expected seconds since 1970, got "):
        reproducible_date()


def test_a_build_knows_its_own_bundles(builds: tuple[Place, Place]) -> None:
    """Every file that a build writes is one that a build may replace."""
    out = builds[0].out
    is_known = known_files(out)
    assert all(is_known(path.relative_to(out).as_posix()) for path in out.rglob("*") if path.is_file())
    check_place(out, force=True)
    with pytest.raises(BuildError, match="replace it with --force"):
        check_place(out, force=False)
