"""Prompt files and the folders that scorers read: complete to the file name, resumed, and checked."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engines.check_layout import faults
from engines.draw_many import Run, seeds_of, tiled
from engines.layouts import LayoutError, Task, read_tasks
from engines.pipeline import Pipeline, load

PROMPTS = ("a red circle", "two blue squares", "a star and a cross")
QUICK = {"mode": "parallel", "drafters": (2,), "tau": 0.0, "draft_window": 2}


def write_prompts(layout: str, folder: Path) -> Path:
    """Write what a scorer's authors publish."""
    if layout == "dpg":
        (folder / "prompts").mkdir()
        for index, prompt in enumerate(PROMPTS):
            (folder / "prompts" / f"COCOval2014_{index}.txt").write_text(prompt + "\n")
        return folder / "prompts"
    path = folder / "prompts.txt"
    if layout == "geneval":
        lines = [json.dumps({"tag": "colors", "include": [], "prompt": prompt}) for prompt in PROMPTS]
        path.write_text("\n".join(lines) + "\n")
    elif layout == "coco":
        annotations = [
            {"image_id": 500 - index, "id": 90 - index, "caption": prompt} for index, prompt in enumerate(PROMPTS)
        ]
        annotations.append({"image_id": 500, "id": 99, "caption": "a later caption of the same image"})
        path.write_text(json.dumps({"annotations": annotations}))
    else:
        path.write_text("\n\n".join(PROMPTS) + "\n\n")
    return path


FILES = {
    "plain": ["00000.png", "00001.png", "00002.png"],
    "geneval": [f"{index:05d}/samples/{number:04d}.png" for index in range(3) for number in range(4)],
    "dpg": ["COCOval2014_0.png", "COCOval2014_1.png", "COCOval2014_2.png"],
    "coco": ["000000000498.png", "000000000499.png", "000000000500.png"],
}


@pytest.mark.parametrize("layout", FILES)
def test_tasks(layout: str, tmp_path: Path) -> None:
    tasks = read_tasks(layout, write_prompts(layout, tmp_path))
    assert [name for task in tasks for name in task.images] == FILES[layout]
    assert {task.prompt for task in tasks} == set(PROMPTS)
    assert {task.tiles for task in tasks} == {4 if layout == "dpg" else 1}
    if layout == "geneval":
        assert json.loads(tasks[1].texts["00001/metadata.jsonl"])["prompt"] == PROMPTS[1]
    seeds = [seed for task in seeds_of(tasks, 2**64 - 2) for file in task for seed in file]
    assert len(set(seeds)) == len(seeds)
    assert seeds[:3] == [2**64 - 2, 2**64 - 1, 0]


@pytest.mark.parametrize(
    ("layout", "content", "samples", "told"),
    [
        ("plain", None, None, "expected a file of prompts, found none"),
        ("plain", b"\xff\xfe\x00", None, "expected text in UTF-8"),
        ("plain", b"\n\n", None, "expected 1 to"),
        ("plain", b"a", 0, "samples: expected a number in 1"),
        ("geneval", b'{"prompt": "a"}\n{"tag": 3}\n', None, "line 2: expected an object with a prompt"),
        ("geneval", b"a red circle\n", None, "line 1: expected JSON"),
        ("dpg", b"a", None, "expected DPG-Bench's folder"),
        ("coco", b"[]", None, "expected annotations"),
        ("coco", b'{"annotations": [{"image_id": 3}]}', None, "expected annotations with image_id"),
        ("coco", b'{"annotations": []}', 2, "samples: expected 1"),
    ],
)
def test_wrong_prompt_files(layout: str, content: bytes | None, samples: int | None, told: str, tmp_path: Path) -> None:
    path = tmp_path / "prompts"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LayoutError, match=told) as error:
        read_tasks(layout, path, samples)
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def pipeline(demo_bundle: Path) -> Pipeline:
    """The demo."""
    return load(demo_bundle)


@pytest.fixture
def start(pipeline: Pipeline, tmp_path: Path) -> Callable[..., Run]:
    """Begin a folder, or go on with it."""

    def make(tasks: list[Task], seed: int = 3, **changes: object) -> Run:
        return Run(pipeline, pipeline.settings(**(QUICK | changes)), seed, tasks, tmp_path / "images")

    return make


def test_a_run_goes_on_where_it_stopped(start: Callable[..., Run], tmp_path: Path) -> None:
    """What is there is not drawn again, and the images are those of a run that was never stopped."""
    tasks = read_tasks("dpg", write_prompts("dpg", tmp_path))
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
    assert list(faults(folder, tasks, 128)) == []
    run = start(tasks)
    assert run.draw() == 0
    # Tiles are read by rows, each with its own seed.
    alone = [run.pipeline.draw(tasks[1].prompt, seed=3 + 4 + tile, **QUICK).image for tile in range(4)]  # type: ignore[arg-type]
    with Image.open(folder / "COCOval2014_1.png") as drawn:
        assert drawn.size == (256, 256)
        assert drawn.tobytes() == tiled(alone).tobytes()
        assert np.array_equal(np.asarray(drawn)[128:, :128], np.asarray(alone[2]))


def test_several_at_once_are_the_same_images(start: Callable[..., Run], tmp_path: Path) -> None:
    tasks = read_tasks("dpg", write_prompts("dpg", tmp_path))
    assert start(tasks).draw(batch=3) == 3
    run = start(tasks)
    alone = [run.pipeline.draw(tasks[1].prompt, seed=3 + 4 + tile, **QUICK).image for tile in range(4)]  # type: ignore[arg-type]
    with Image.open(tmp_path / "images" / "COCOval2014_1.png") as drawn:
        assert drawn.tobytes() == tiled(alone).tobytes()


def test_another_run_is_refused(start: Callable[..., Run], tmp_path: Path) -> None:
    tasks = [Task("a star", ("a.png",))]
    start(tasks).draw()
    for changed, told in (
        ({"seed": 4}, "another seed"),
        ({"tau": 0.5}, "another settings"),
    ):
        with pytest.raises(LayoutError, match=told):
            start(tasks, **changed)
    with pytest.raises(LayoutError, match="another prompts_sha256"):
        start([Task("a cross", ("a.png",))])
    (tmp_path / "images" / "run.json").unlink()
    with pytest.raises(LayoutError, match="expected an empty folder"):
        start(tasks)


def test_a_prompt_that_is_not_understood(start: Callable[..., Run]) -> None:
    """What was drawn before stays, and the message tells which one."""
    run = start([Task("a star", ("a.png",)), Task("a unicorn", ("b.png",))])
    with pytest.raises(LayoutError, match=r"prompt 2 of 2: prompt: unknown word 'unicorn'"):
        run.draw()
    assert (run.folder / "a.png").is_file()


def test_faults_of_every_kind(tmp_path: Path) -> None:
    tasks = read_tasks("geneval", write_prompts("geneval", tmp_path))
    folder = tmp_path / "images"
    for task in tasks:
        for name in task.images:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (64, 64)).save(folder / name)
        for name, text in task.texts.items():
            (folder / name).write_text(text)
    assert list(faults(folder, tasks, None)) == []
    Image.new("RGB", (32, 64)).save(folder / "00000/samples/0001.png")
    Image.new("L", (64, 64)).save(folder / "00000/samples/0002.png")
    Image.new("RGB", (64, 64)).save(folder / "00000/samples/0003.png", format="JPEG")
    content = (folder / "00001/samples/0000.png").read_bytes()
    (folder / "00001/samples/0000.png").write_bytes(content[:-30])
    (folder / "00001/metadata.jsonl").write_text("{}")
    (folder / "00002/metadata.jsonl").unlink()
    (folder / "00002/samples/0004.png").write_bytes(content)
    assert list(faults(folder, tasks, None)) == [
        "00000/samples/0001.png: expected 64 x 64 pixels, got 32 x 64",
        "00000/samples/0002.png: expected a PNG in RGB, got PNG in L",
        "00000/samples/0003.png: expected a PNG in RGB, got JPEG in RGB",
        "00001/metadata.jsonl: not as in the prompt file",
        "00001/samples/0000.png: not a whole image",
        "00002/metadata.jsonl: missing",
        "00002/samples/0004.png: no file of this layout",
    ]


def test_commands(demo_bundle: Path, tmp_path: Path) -> None:
    """Draw, draw again, check; then check with something missing."""
    prompts = write_prompts("coco", tmp_path)
    many = ["--prompts", str(prompts), "--layout", "coco"]
    options = ["--drafters", "2", "--tau", "0", "--draft-window", "2", "--bundle", str(demo_bundle)]
    draw = [sys.executable, "-m", "engines.generate", *many, "--out", str(tmp_path / "images"), *options]
    first = subprocess.run(draw, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    assert first.stdout.endswith("3 images of 3 prompts, 3 drawn now\n")
    again = subprocess.run(draw, capture_output=True, text=True, check=False)
    assert again.stdout.endswith("3 images of 3 prompts, 0 drawn now\n")
    check = [sys.executable, "-m", "engines.check_layout", str(tmp_path / "images"), *many]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (
        0,
        f"{tmp_path / 'images'}: 3 prompts, 3 images, no faults",
    )
    (tmp_path / "images" / "000000000499.png").unlink()
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.startswith("000000000499.png: missing\n")
    for wrong, told in (
        (["a star", *draw[3:]], "expected no prompt beside --prompts"),
        ([*draw[3:], "--plan", "p.json"], "expected no plan beside --prompts"),
        (
            ["a star", "--out", str(tmp_path / "a.png"), "--layout", "coco"],
            "layout: expected it beside --prompts alone",
        ),
        (["--out", "a.png"], "expected a prompt or --condition"),
    ):
        done = subprocess.run([*draw[:3], *wrong], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert told in done.stderr
