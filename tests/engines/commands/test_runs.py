"""Runs over many prompts: resumed image by image, whatever ended them, and never over a stranger's files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mulo_sd.engines.check_layout import faults
from mulo_sd.engines.commands import drawing
from mulo_sd.engines.commands.draw_many import Run
from mulo_sd.engines.commands.image_record import models_hash
from mulo_sd.engines.commands.layouts import LayoutError, PromptsError
from mulo_sd.engines.commands.run_images import tiled
from mulo_sd.engines.service.pipeline import Pipeline
from tests.engines.commands.runs import QUICK, dpg_tasks, plain_tasks


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
    with pytest.raises(LayoutError, match=f"^{drawing.MAX_FAILURES} images in a row failed: .* the device is gone"):
        start(plain_tasks(*["a star"] * 40)).draw()
