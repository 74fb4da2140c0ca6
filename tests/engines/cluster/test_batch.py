"""Runs of images on Ray: a single process's images, whatever dies; skipped by name where Ray is not installed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mulo_sd.conformance.tools.serving.head import Head
from mulo_sd.conformance.tools.serving.replicas import batch_actors, descendants
from mulo_sd.conformance.tools.serving.watched_folder import WatchedFolder
from mulo_sd.conformance.tools.soak_batch import Runs, soak, wait_for_the_end
from mulo_sd.engines.commands.layouts import LAYOUTS
from mulo_sd.engines.commands.run_folder import in_use
from mulo_sd.engines.files.whole_files import PARTIAL
from mulo_sd.engines.service.load import load
from mulo_sd.engines.service.pipeline import Pipeline
from tests.engines.commands.runs import OPTIONS, QUICK, plain_tasks, write_prompts
from tests.in_process import InProcess

pytestmark = pytest.mark.usefixtures("ray_extra")

# Its third image fails.
FAILING = """
from mulo_sd.engines import BackendError, WrappedBackend
from mulo_sd.engines.backends.choose import make_backend
class Failing(WrappedBackend):
    images = 0
    def run(self, graph, inputs):
        Failing.images += graph == 'decoder'
        if graph == 'decoder' and Failing.images == 3:
            raise BackendError('logits: expected numbers,\\ngot NaN')
        return super().run(graph, inputs)
def make(bundle, threads=None):
    return Failing(make_backend('ort', bundle, threads))
"""


@pytest.fixture(scope="module")
def head(ray_extra: None) -> Iterator[Head]:
    """A cluster that the runs of this file join."""
    with Head(cpus=2) as head:
        yield head


def content(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def run(bundle: Path, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mulo_sd.engines.generate", "--bundle", str(bundle), *OPTIONS, "--threads", "1"]
    environment = {**os.environ, "RAY_AUTH_MODE": "token"}
    return subprocess.run(
        [*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_a_single_processs(
    layout: str, head: Head, minimal_bundle: Path, in_process: InProcess, tmp_path: Path
) -> None:
    """Byte for byte; a share of it, too, and a run that is whole needs no cluster."""
    arguments = ["--prompts", str(write_prompts(layout, tmp_path)), "--layout", layout]
    options = ["--bundle", str(minimal_bundle), *OPTIONS, "--threads", "1", "--seed", "5", "--out", "alone"]
    alone = in_process.run("mulo_sd.engines.generate", *arguments, *options, folder=tmp_path)
    assert alone.returncode == 0, alone.stderr
    images = sum(name.endswith(".png") for name in content(tmp_path / "alone"))
    cluster = [*arguments, "--seed", "5", "--out", "ray", "--ray"]
    if layout == "plain":  # the rest is drawn below
        share = run(minimal_bundle, *cluster, "--ray-address", head.address, "--shard", "2/2", folder=tmp_path)
        assert (share.returncode, share.stdout) == (0, "ray: 1 images of share 2/2 of 3 prompts, 1 drawn now\n")
    done = run(minimal_bundle, *cluster, "--ray-address", head.address, "--batch", "2", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    drawn = images - (layout == "plain")
    assert done.stdout == f"ray: {images} images of 3 prompts, {drawn} drawn now\n"
    told = [line.partition(" after ")[0] for line in done.stderr.splitlines()]
    counts = [int(line.removeprefix("images: ").removesuffix(f" of {images}")) for line in told]
    assert (counts[0], counts[-1]) == (images - drawn, images)
    assert counts == sorted(counts)  # on a slow machine there are lines between them
    assert content(tmp_path / "ray") == content(tmp_path / "alone")
    again = run(minimal_bundle, *cluster, "--ray-address", "127.0.0.1:1", folder=tmp_path)
    assert (again.returncode, again.stdout) == (0, f"ray: {images} images of 3 prompts, 0 drawn now\n")


def test_a_run_that_is_killed_goes_on(demo_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The short form of the soak: its command and its actors are killed, and nothing is drawn twice or left."""
    soak(Runs(demo_bundle, tmp_path, 20), kills=2, seed=1)
    told = capsys.readouterr().out
    assert told.count("killed: ") == 2
    assert told.endswith("20 images, each drawn once and equal to a single process's; killed 2 times\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_everything(number: signal.Signals, demo_bundle: Path, tmp_path: Path) -> None:
    runs = Runs(demo_bundle, tmp_path, 20)
    process = runs.start("ray", "--ray", "--actors", "1")
    with WatchedFolder(tmp_path / "ray") as watched:
        assert watched.wait_for(1)
    out = tmp_path / "ray"
    assert len(batch_actors(process.pid)) == 1
    left = descendants(process.pid)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    there = len(list((tmp_path / "ray").glob("*.png")))
    assert (process.returncode, output) == (130, "")
    told = (tmp_path / "ray.log").read_text().splitlines()
    assert told[-1] == f"error: interrupted; {there} of 20 images are in {out}; run the same command to go on"
    wait_for_the_end(left)
    assert sorted(path.name for path in (tmp_path / "ray").iterdir() if path.suffix != ".png") == ["run.json"]


def is_raylet(process: int) -> bool:
    return b"/raylet/raylet\0" in Path(f"/proc/{process}/cmdline").read_bytes()


def test_a_raylet_that_dies_ends_the_command_with_a_line(demo_bundle: Path, tmp_path: Path) -> None:
    """Ray ends the process then; another one tells, and the run goes on."""
    runs = Runs(demo_bundle, tmp_path, 6)
    process = runs.start("ray", "--ray", "--actors", "1")
    with WatchedFolder(tmp_path / "ray") as watched:
        assert watched.wait_for(1)
    os.kill(next(child for child in descendants(process.pid) if is_raylet(child)), signal.SIGKILL)
    process.communicate(timeout=120)
    assert process.returncode == 1
    log, ends_at = tmp_path / "ray.log", time.monotonic() + 10
    while "error: " not in log.read_text():
        assert time.monotonic() < ends_at
        time.sleep(0.05)
    assert log.read_text().splitlines()[-1] == (
        "error: ray: the cluster or a signal ended the command; what is drawn stays, run the same command to go on"
    )
    assert runs.end(runs.start("ray", "--ray", "--actors", "1")).startswith(f"{tmp_path / 'ray'}: 6 images")


def test_what_cannot_be_drawn_is_told_in_lines(minimal_bundle: Path, tmp_path: Path) -> None:
    """An image that fails is left out; an actor that cannot begin ends the run; no room is told at once."""
    (tmp_path / "failing.py").write_text(FAILING)
    (tmp_path / "p.txt").write_text("a star\na cross\na circle\na square\n")
    arguments = ("--prompts", "p.txt", "--out", "ray", "--ray", "--actors", "1")
    none = run(minimal_bundle, *arguments, "--backend", "no_such_module:make", folder=tmp_path)
    assert (none.returncode, none.stdout) == (2, "")
    errors = [line for line in none.stderr.splitlines() if not line.startswith("images: ")]
    assert len(errors) == 1
    assert errors[0].startswith("error: backend no_such_module:make: ModuleNotFoundError: ")
    failing = run(minimal_bundle, *arguments, "--backend", "failing:make", folder=tmp_path)
    assert (failing.returncode, failing.stdout) == (3, "ray: 4 images of 4 prompts, 3 drawn now, 1 missing\n")
    errors = [line for line in failing.stderr.splitlines() if not line.startswith("images: ")]
    assert errors == ["error: 00002.png: p.txt: line 3: logits: expected numbers, got NaN"]
    again = run(minimal_bundle, *arguments, folder=tmp_path)
    assert (again.returncode, again.stdout) == (0, "ray: 4 images of 4 prompts, 1 drawn now\n")
    (tmp_path / "ray" / "00001.png").unlink()
    full = run(minimal_bundle, *arguments, "--gpus-each", "64", folder=tmp_path)
    assert (full.returncode, full.stdout) == (2, "")
    assert full.stderr.splitlines()[-1].startswith("error: gpus-each: expected at most ")
    assert not list((tmp_path / "ray").glob(f"{PARTIAL}*"))


@pytest.fixture
def actor(minimal_bundle: Path, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Make an actor in this process, of a run whose driver is at work."""
    from mulo_sd.engines.cluster.batch_actor import ATTEMPTS, BatchActor, Recipe
    from mulo_sd.engines.cluster.batch_options import ActorOptions

    sign = tmp_path / "images" / f"{PARTIAL}abcdefgh"
    sign.parent.mkdir()
    recipe: dict[str, Any] = {
        "bundle": minimal_bundle,
        "actor": ActorOptions(threads=1),
        "settings": load(minimal_bundle).settings(**QUICK),
        "seed": 3,
        "tasks": plain_tasks("a star", "a cross", "a circle"),
        "folder": tmp_path / "images",
        "sign": sign.name,
        "batch": 1,
    }
    made: list[BatchActor] = []

    def make(**changes: Any) -> BatchActor:
        made.append(BatchActor(Recipe(**recipe | changes)))
        return made[-1]

    with in_use(sign.parent):
        sign.mkdir()
        (sign / ATTEMPTS).touch()
        yield make
    for each in made:
        each._opened.close()


def block(*images: int) -> dict[str, Any]:
    return {"data": np.array([(image, 0) for image in images])}


def test_a_machine_that_does_not_see_the_folder(actor: Callable[..., Any], tmp_path: Path) -> None:
    """Nor begins one of its own; every row says so, and the first one ends the run."""
    rows = actor(folder=tmp_path / "elsewhere")(block(0, 1))
    assert len(set(rows["fault"])) == 1
    told = rows["fault"][0]
    assert told.startswith(
        f"{tmp_path / 'elsewhere'}: expected the run's folder on every machine; share it, or give an"
    )
    assert told.count("\n") == 0
    assert " (on " in told
    assert not (tmp_path / "elsewhere").exists()


def test_a_machine_with_other_models_or_without_the_bundle(actor: Callable[..., Any], tmp_path: Path) -> None:
    assert actor(bundle=tmp_path / "none")(block(0))["fault"][0].startswith(f"{tmp_path / 'none'}")


def test_an_actor_tells_what_became_of_each_image(actor: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    original = Pipeline.describe

    def describe(self: Pipeline, prompt: Any, *rest: Any) -> Any:
        if prompt == "a cross":
            raise ValueError("logits: expected numbers,\ngot NaN")
        return original(self, prompt, *rest)

    monkeypatch.setattr(Pipeline, "describe", describe)
    made = actor()
    rows = made(block(0, 1, 2))
    assert list(rows["failure"]) == ["", "logits: expected numbers, got NaN", ""]
    assert list(rows["fault"]) == ["", "", ""]
    assert np.array_equal(rows["data"], [(0, 0), (1, 0), (2, 0)])
    # The same block once more, as if its actor had died: the first row says so, and failures are not kept.
    monkeypatch.undo()
    rows = made(block(0, 1, 2))
    assert (list(rows["failure"]), list(rows["deaths"])) == (["", "", ""], [1, 0, 0])


def test_what_kills_every_actor_ends_the_run(actor: Callable[..., Any]) -> None:
    from mulo_sd.engines.cluster.batch_actor import MAX_DEATHS

    made = actor()
    assert [made(block(0))["fault"][0] for _ in range(MAX_DEATHS)] == [""] * MAX_DEATHS
    assert made(block(2))["fault"][0] == ""
    told = made(block(0))["fault"][0]
    assert told.startswith("00000.png to 00000.png: expected an actor that draws them, got 8 that died; look for what")
    assert made(block(1))["fault"][0] == told
