"""Runs over many prompts: resumed image by image, whatever ended them, and never over a stranger's files."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from mulo_sd.engines.bundle.manifest import MANIFEST_NAME
from mulo_sd.engines.check_layout import faults
from mulo_sd.engines.commands import draw_many
from mulo_sd.engines.commands.draw_many import Run, tiled
from mulo_sd.engines.commands.image_record import models_hash, read_record
from mulo_sd.engines.commands.layouts import LayoutError, PromptsError, Task
from mulo_sd.engines.commands.run_folder import in_use
from mulo_sd.engines.commands.run_progress import shown_progress
from mulo_sd.engines.service.load import load
from mulo_sd.engines.service.pipeline import Pipeline

PROMPTS = ("a red circle", "two blue squares", "a star and a cross")
QUICK: dict[str, Any] = {"mode": "parallel", "drafters": (2,), "tau": 0.0, "draft_window": 2}
OPTIONS = ["--drafters", "2", "--tau", "0", "--draft-window", "2"]


def dpg_tasks() -> list[Task]:
    return [Task(prompt, (f"COCOval2014_{index}.png",), tiles=4) for index, prompt in enumerate(PROMPTS)]


def plain_tasks(*prompts: str) -> list[Task]:
    return [
        Task(prompt, (f"{index:05d}.png",), where=f"p.txt: line {index + 1}") for index, prompt in enumerate(prompts)
    ]


@pytest.fixture(scope="module")
def pipeline(minimal_bundle: Path) -> Pipeline:
    """Small random models, which understand the demo's prompts."""
    return load(minimal_bundle)


@pytest.fixture
def start(pipeline: Pipeline, tmp_path: Path) -> Callable[..., Run]:
    """Begin a folder, or go on with it."""

    def make(tasks: list[Task], seed: int = 3, **changes: object) -> Run:
        return Run(pipeline, pipeline.settings(**(QUICK | changes)), seed, tasks, tmp_path / "images")

    return make


def test_a_run_goes_on_where_it_stopped(start: Callable[..., Run], tmp_path: Path) -> None:
    """What is there is not drawn again, and the images are those of a run that was never stopped."""
    tasks = dpg_tasks()
    folder = tmp_path / "images"

    def stop(done: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start(tasks).draw(stop)
    assert sorted(path.name for path in folder.iterdir()) == ["COCOval2014_0.png", "run.json"]
    assert list(faults(folder, tasks, None)) == ["COCOval2014_1.png: missing", "COCOval2014_2.png: missing"]
    written = (folder / "COCOval2014_0.png").stat().st_mtime_ns
    told: list[int] = []
    assert start(tasks).draw(told.append) == 2
    assert told == [1, 2, 3]
    assert (folder / "COCOval2014_0.png").stat().st_mtime_ns == written
    assert list(faults(folder, tasks, 16)) == []
    run = start(tasks)
    assert run.draw() == 0
    # Tiles are read by rows, each with its own seed.
    alone = [run.pipeline.draw(tasks[1].prompt, seed=3 + 4 + tile, **QUICK).image for tile in range(4)]
    with Image.open(folder / "COCOval2014_1.png") as drawn:
        assert drawn.size == (32, 32)
        assert drawn.tobytes() == tiled(alone).tobytes()
        assert np.array_equal(np.asarray(drawn)[16:, :16], np.asarray(alone[2]))


def test_several_at_once_are_the_same_images(start: Callable[..., Run], tmp_path: Path) -> None:
    tasks = dpg_tasks()
    assert start(tasks).draw(batch=3) == 3
    run = start(tasks)
    alone = [run.pipeline.draw(tasks[1].prompt, seed=3 + 4 + tile, **QUICK).image for tile in range(4)]
    with Image.open(tmp_path / "images" / "COCOval2014_1.png") as drawn:
        assert drawn.tobytes() == tiled(alone).tobytes()


def test_another_run_is_refused(start: Callable[..., Run], tmp_path: Path) -> None:
    tasks = plain_tasks("a star")
    start(tasks).draw()
    for changed, told in (
        ({"seed": 4}, "expected the seed with which the folder was begun, got another"),
        ({"tau": 0.5}, "expected the settings with which the folder was begun, got another"),
    ):
        with pytest.raises(LayoutError, match=told):
            start(tasks, **changed)
    (tmp_path / "images" / "run.json").write_text("no")
    with pytest.raises(LayoutError, match="expected the description of a run"):
        start(tasks)
    (tmp_path / "images" / "run.json").unlink()
    with pytest.raises(LayoutError, match="expected an empty folder"):
        start(tasks)


def test_only_what_changed_is_drawn_again(start: Callable[..., Run], tmp_path: Path) -> None:
    """A corrected prompt replaces its own image; an inserted one moves the numbers and the seeds behind it."""
    folder = tmp_path / "images"
    start(plain_tasks("a star", "a cross", "a circle")).draw()
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.png")}
    run = start(plain_tasks("a star", "a red cross", "a circle", "two stars"))
    assert [run.tasks[number].images[place] for number, place in run.missing()] == ["00001.png", "00003.png"]
    assert run.draw() == 2
    after = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.png")}
    assert [name for name in before if after[name] == before[name]] == ["00000.png", "00002.png"]
    with Image.open(folder / "00001.png") as image:
        assert image.tobytes() == run.pipeline.draw("a red cross", seed=4, **QUICK).image.tobytes()
    inserted = start(plain_tasks("a star", "a diamond", "a red cross", "a circle", "two stars"))
    assert len(list(inserted.missing())) == 4


def test_models_are_compared_and_dates_are_not(pipeline: Pipeline) -> None:
    manifest = pipeline.bundle.manifest
    own = models_hash(manifest)
    later = manifest.model_copy(update={"name": "another", "settings": manifest.settings.changed(tau=0.5)})
    assert models_hash(later) == own
    for name, graph in manifest.graphs.items():
        slower = graph.model_copy(update={"build_seconds": 9.0, "measured_error": 0.5, "plans": ()})
        assert models_hash(manifest.model_copy(update={"graphs": {**manifest.graphs, name: slower}})) == own
        onnx = graph.onnx.model_copy(update={"sha256": "0" * 64})
        changed = graph.model_copy(update={"onnx": onnx})
        assert models_hash(manifest.model_copy(update={"graphs": {**manifest.graphs, name: changed}})) != own


def test_images_that_are_cut_off_are_drawn_again(start: Callable[..., Run], tmp_path: Path) -> None:
    folder = tmp_path / "images"
    tasks = plain_tasks("a star")
    start(tasks).draw()
    whole = (folder / "00000.png").read_bytes()
    for length in (0, 5, 40, 300, len(whole) // 2, len(whole) - 13, len(whole) - 1):
        (folder / "00000.png").write_bytes(whole[:length])
        assert len(list(start(tasks).missing())) == 1, length
    wrong = bytearray(whole)
    wrong[len(whole) // 2] ^= 1
    (folder / "00000.png").write_bytes(wrong)
    assert start(tasks).draw() == 1
    assert (folder / "00000.png").read_bytes() == whole


@pytest.mark.parametrize("content", ["image", "text", "cut off"])
def test_the_files_of_strangers_are_left_alone(content: str, start: Callable[..., Run], tmp_path: Path) -> None:
    run = start(plain_tasks("a star"))
    path = run.folder / "00000.png"
    Image.new("RGB", (128, 128)).save(path)
    if content == "text":
        path.write_text("mine")
    elif content == "cut off":
        path.write_bytes(path.read_bytes()[:-20])
    before = path.read_bytes()
    with pytest.raises(LayoutError, match="expected an image of this run or none, got another file; move it away"):
        run.draw()
    assert path.read_bytes() == before


def test_prompts_are_checked_before_the_first_is_drawn(start: Callable[..., Run], tmp_path: Path) -> None:
    with pytest.raises(PromptsError) as error:
        start(plain_tasks("a star", "a unicorn", "a cross", "two red"))
    assert len(error.value.faults) == 2
    assert error.value.faults[0].startswith("p.txt: line 2: prompt: unknown word 'unicorn'")
    assert error.value.faults[1].startswith("p.txt: line 4: prompt: expected a plural shape")
    assert not (tmp_path / "images").exists()


def test_a_run_goes_on_after_what_cannot_be_drawn(start: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    run = start(plain_tasks("a star", "a cross", "a circle"))
    original = Pipeline.describe

    def describe(self: Pipeline, prompt: Any, *rest: Any) -> Any:
        if prompt == "a cross":
            raise ValueError("logits: expected numbers,\ngot NaN")
        return original(self, prompt, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Pipeline, "describe", describe)
        assert run.draw() == 2
    assert [str(failure) for failure in run.failures] == ["00001.png: p.txt: line 2: logits: expected numbers, got NaN"]
    assert sorted(path.name for path in run.folder.glob("*.png")) == ["00000.png", "00002.png"]
    assert run.draw() == 1  # what was missing
    assert run.failures == []


def test_a_run_ends_where_everything_fails(start: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    def describe(*_: Any) -> Any:
        raise ValueError("the device is gone")

    monkeypatch.setattr(Pipeline, "describe", describe)
    with pytest.raises(LayoutError, match=f"^{draw_many.MAX_FAILURES} images in a row failed: .* the device is gone"):
        start(plain_tasks(*["a star"] * 40)).draw()


def begun_before(run: Run, folder: Path) -> None:
    """Make of a folder what the first version wrote: a run.json of one hash of all prompts, and plain images."""
    prompts = json.dumps([[task.prompt, task.images, task.tiles] for task in run.tasks]).encode()
    told = {
        "manifest_sha256": sha256((run.pipeline.bundle.path / MANIFEST_NAME).read_bytes()).hexdigest(),
        "settings": run.settings.model_dump(mode="json"),
        "seed": 3,
        "prompts": len(run.tasks),
        "prompts_sha256": sha256(prompts).hexdigest(),
    }
    (folder / "run.json").write_text(json.dumps(told, indent=1) + "\n")


def test_a_folder_of_the_first_version(start: Callable[..., Run], tmp_path: Path) -> None:
    """It is gone on with where it matches as a whole, cut images and all; else it is refused."""
    folder, tasks = tmp_path / "images", plain_tasks("a star", "a cross", "a circle")
    run = start(tasks)
    begun_before(run, folder)
    Image.new("RGB", (128, 128)).save(folder / "00000.png")
    Image.new("RGB", (128, 128)).save(folder / "00001.png")
    (folder / "00001.png").write_bytes((folder / "00001.png").read_bytes()[:-20])
    kept = (folder / "00000.png").read_bytes()
    assert start(tasks).draw() == 2
    assert (folder / "00000.png").read_bytes() == kept
    assert start(tasks).draw() == 0
    with pytest.raises(
        LayoutError,
        match=r"expected the prompts_sha256 with which the folder was begun by an earlier",
    ):
        start(plain_tasks("a star", "a red cross", "a circle"))


def test_leftovers_of_killed_processes_go(start: Callable[..., Run], tmp_path: Path) -> None:
    """Only what is called as ours is and holds what ours holds; and nothing while another process is there."""
    folder = tmp_path / "images"
    run = start(plain_tasks("a star"))
    (folder / "00000" / "samples").mkdir(parents=True)
    ours = [folder / ".partial-abcd_123", folder / "00000" / "samples" / ".partial-00000000"]
    others = [folder / ".partial-mine", folder / ".partial-abcdefg1", folder / "partial-abcdefgh"]
    for left in [*ours, *others]:
        left.mkdir()
        (left / "a.png").write_bytes(b"half")
    (folder / ".partial-abcdefg1" / "b.png").write_bytes(b"")
    with in_use(folder) as alone:
        assert alone is True
    assert [left.exists() for left in [*ours, *others]] == [False, False, True, True, True]
    with in_use(folder), in_use(folder) as alone:
        assert alone is False
        ours[0].mkdir()
        run.draw()
        assert ours[0].exists()


def test_a_folder_that_cannot_be_written_is_told_before_the_decode(
    start: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it was begun before; and a folder that a link leads to is made."""
    (tmp_path / "images").symlink_to(tmp_path / "far")
    run = start(plain_tasks("a star"))
    assert (tmp_path / "far" / "run.json").is_file()

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(draw_many, "check_writable", refuse)
    monkeypatch.setattr(Pipeline, "describe", None)
    with pytest.raises(LayoutError, match=r"00000.png: cannot write it: Permission denied"):
        run.draw()
    (tmp_path / "file").write_text("")
    with pytest.raises(LayoutError, match="expected a folder, got a file"):
        Run(run.pipeline, run.settings, 3, run.tasks, tmp_path / "file")


def command(bundle: Path, prompts: Path, out: Path) -> list[str]:
    files = ["--prompts", str(prompts), "--out", str(out), "--bundle", str(bundle)]
    return [sys.executable, "-m", "mulo_sd.engines.generate", *files, *OPTIONS, "--threads", "1"]


def test_two_processes_that_start_together(minimal_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("a star\na cross\n")
    draw = command(minimal_bundle, tmp_path / "p.txt", tmp_path / "images")
    started = [subprocess.Popen(draw, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    ends = [process.communicate(timeout=300) for process in started]
    assert [process.returncode for process in started] == [0, 0], ends
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == ["00000.png", "00001.png", "run.json"]
    assert all(read_record(path).state == "whole" for path in (tmp_path / "images").glob("*.png"))


def test_interrupted(minimal_bundle: Path, tmp_path: Path) -> None:
    """Ctrl-C says what is there and how to go on; bad prompts are listed, with the status of a wrong request."""
    (tmp_path / "p.txt").write_text("a star\n" * 200)
    out = tmp_path / "images"
    process = subprocess.Popen(
        command(minimal_bundle, tmp_path / "p.txt", out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not (out / "00000.png").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=120)
    there = len(list(out.glob("*.png")))
    assert process.returncode == 130
    assert output == ""
    lines = errors.splitlines()
    assert lines[0].startswith("images: 0 of 200 after ")
    assert lines[-1] == f"error: interrupted; {there} of 200 images are in {out}; run the same command to go on"
    assert "Traceback" not in errors
    (tmp_path / "p.txt").write_text("a star\n" + "a dog\n" * 12)
    done = subprocess.run(command(minimal_bundle, tmp_path / "p.txt", out), capture_output=True, text=True, check=False)
    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout, len(lines)) == (2, "", 11)
    assert lines[0].startswith(f"error: {tmp_path / 'p.txt'}: line 2: prompt: unknown word 'dog'")
    assert lines[-1] == "error: and 2 more; 12 prompts cannot be drawn"


def test_progress_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    with shown_progress(Console(stderr=True, force_terminal=False), 40, lambda: now) as progress:
        for done in range(10, 40):
            progress(done)
            now += 10
    assert capsys.readouterr().err.splitlines() == [
        "images: 10 of 40 after 0:00:00",
        *(
            f"images: {10 + 3 * step} of 40 after 0:{step // 2:02d}:{step % 2 * 30:02d}, about 0:{minutes} to go"
            for step, minutes in ((1, "04:30"), (2, "04:00"), (3, "03:30"), (4, "03:00"), (5, "02:30"))
        ),
        *(
            f"images: {10 + 3 * step} of 40 after 0:{step // 2:02d}:{step % 2 * 30:02d}, about 0:{minutes} to go"
            for step, minutes in ((6, "02:00"), (7, "01:30"), (8, "01:00"), (9, "00:30"))
        ),
        "images: 39 of 40 after 0:05:00, about 0:00:10 to go",
    ]
