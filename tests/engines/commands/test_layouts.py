"""Prompt files and the folders that scorers read: complete to the file name, and checked."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from mulo_sd.engines.check_layout import faults
from mulo_sd.engines.commands.layouts import LayoutError, PromptsError, read_tasks
from mulo_sd.engines.commands.run_images import seeds_of
from tests.engines.commands.runs import PROMPTS, write_prompts

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
        ("plain", b"\xff\xfea\x00", None, "expected text in UTF-8, got UTF-16"),
        ("plain", b"a star\n\xe9\n", None, "line 2: expected text in UTF-8, got other bytes"),
        ("plain", b"a star\r\n\xe2\x80\x8b\r\n", None, "line 2: it is empty"),
        ("plain", b"a star\rtwo stars\r", None, "line 1: expected line ends of LF or CRLF, got CR alone"),
        ("plain", b"a star\x00\n", None, "line 1: expected text without control characters"),
        ("plain", b"\n\n", None, "expected 1 to"),
        ("plain", b"a", 0, "samples: expected a whole number in 1..1000, got 0"),
        ("geneval", b'{"prompt": "a"}\n{"tag": 3}\n', None, "line 2: expected a JSON object with a prompt, got"),
        ("geneval", b"a red circle\n", None, "line 1: expected JSON"),
        ("geneval", b'{"prompt": "a"}\n\n{"prompt": " "}\n', None, "line 3: it is empty"),
        ("geneval", b'{"prompt": "a", "prompt": "b"}\n', None, "line 1: expected JSON, got: it names 'prompt' twice"),
        ("geneval", b'{"prompt": "a", "count": NaN}\n', None, "line 1: expected JSON, got: it holds NaN"),
        ("geneval", b'{"prompt": "a \\ud83d"}\n', None, "line 1: expected Unicode text, got half of a surrogate"),
        ("geneval", b'{"prompt": ' + b"[" * 100_000, None, "line 1: expected JSON, got: it is nested too deeply"),
        ("dpg", b"a", None, "expected DPG-Bench's folder"),
        ("coco", b"[]", None, "expected annotations"),
        ("coco", b'{"annotations": [{"image_id": 3}]}', None, "expected annotations with image_id"),
        ("coco", b'{"annotations": [{"image_id": true, "id": 1, "caption": "a"}]}', None, "expected annotations with"),
        (
            "coco",
            b'{"annotations": [{"image_id": 7, "id": 1, "caption": " "}]}',
            None,
            "of image 7: it is empty",
        ),
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


MARK = b"\xef\xbb\xbf"
GENEVAL = json.dumps({"tag": "x", "prompt": "a red star", "note": "one\u2028two\x85three"}, ensure_ascii=False)


@pytest.mark.parametrize(
    ("layout", "content", "prompts"),
    [
        ("plain", MARK + b"a red star\r\ntwo green squares\r\n", ["a red star", "two green squares"]),
        ("plain", b"a red star\r\n\r\n \t\ntwo green squares", ["a red star", "two green squares"]),
        ("plain", "caf\u00e9 \u2028 one\x85two\x0cthree\n".encode(), ["caf\u00e9 \u2028 one\x85two\x0cthree"]),
        ("geneval", MARK + b'{"prompt": "a red star"}\n', ["a red star"]),
        ("geneval", GENEVAL.encode() + b"\r\n", ["a red star"]),
        ("coco", MARK + b'{"annotations": [{"image_id": 1, "id": 1, "caption": "a star"}]}', ["a star"]),
    ],
)
def test_marks_and_line_ends(layout: str, content: bytes, prompts: list[str], tmp_path: Path) -> None:
    """A byte-order mark is no part of a prompt, and only LF and CRLF end a line."""
    path = tmp_path / "prompts"
    path.write_bytes(content)
    tasks = read_tasks(layout, path)
    assert [task.prompt for task in tasks] == prompts
    if layout == "geneval":
        text = content.removeprefix(MARK).decode().rstrip("\r\n")
        assert tasks[0].texts == {"00000/metadata.jsonl": f"{text}\n"}


def test_a_folder_that_other_systems_have_touched(tmp_path: Path) -> None:
    folder = tmp_path / "prompts"
    folder.mkdir()
    (folder / "v1.0-1.txt").write_bytes(MARK + b"a red star\r\n")
    (folder / "a link.txt").symlink_to("v1.0-1.txt")
    for name in ("._v1.0-1.txt", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (folder / name).write_bytes(b"\x00\x05\x16\x07\xff")
    tasks = read_tasks("dpg", folder)
    assert [(task.prompt, task.images) for task in tasks] == [
        ("a red star", ("a link.png",)),
        ("a red star", ("v1.0-1.png",)),
    ]
    (folder / "w.txt").write_bytes(b" \n")
    (folder / "x.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(PromptsError) as error:
        read_tasks("dpg", folder)
    assert sorted(error.value.faults) == [
        f"{folder / 'w.txt'}: it is empty; say what to draw",
        f"{folder / 'x.txt'}: expected text in UTF-8, got UTF-16; save it as UTF-8",
    ]


def test_endings_of_prompt_files_in_any_case(tmp_path: Path) -> None:
    """A.TXT is a prompt file; beside A.txt, which would write the same image, it is refused."""
    for name in ("b.TXT", "a.Txt", "c.txt", "d.text"):
        (tmp_path / name).write_text("a red star")
    assert [task.images for task in read_tasks("dpg", tmp_path)] == [("a.png",), ("b.png",), ("c.png",)]
    (tmp_path / "a.txt").write_text("a red star")
    (tmp_path / "b.txt").write_text("a red star")
    with pytest.raises(PromptsError) as error:
        read_tasks("dpg", tmp_path)
    assert list(error.value.faults) == [
        f"{tmp_path / 'a.txt'}: expected one prompt file for a.png, got a.Txt too; rename one",
        f"{tmp_path / 'b.txt'}: expected one prompt file for b.png, got b.TXT too; rename one",
    ]


def test_all_faults_are_found_at_once(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": ""}\n{"prompt": "a star"}\nno\n' * 9)
    with pytest.raises(PromptsError) as error:
        read_tasks("geneval", path)
    lines_of_faults = [fault.removeprefix(f"{path}: line ").partition(":")[0] for fault in error.value.faults]
    assert lines_of_faults == [str(line) for line in range(1, 28) if line % 3 != 2]
    assert "\n" not in str(error.value)
    assert str(error.value).endswith("(and 17 more)")
    lines = list(error.value.lines())
    assert len(lines) == 11
    assert lines[-1] == "and 8 more; 18 prompts cannot be drawn"


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
    # What systems leave is no fault, unless a scorer takes it for an image; a link counts as what it leads to.
    for name in (".DS_Store", "00000/Thumbs.db", "00001/._metadata.jsonl", "00002/samples/._0000.png"):
        (folder / name).write_bytes(b"")
    (folder / "00002/samples/0000.png").rename(tmp_path / "elsewhere.png")
    (folder / "00002/samples/0000.png").symlink_to(tmp_path / "elsewhere.png")
    (folder / "00002/samples/0001.png").unlink()
    (folder / "00002/samples/0001.png").symlink_to(tmp_path / "nowhere.png")
    (folder / "nowhere").symlink_to(tmp_path / "nowhere")
    assert list(faults(folder, tasks, None)) == [
        "00000/samples/0001.png: expected 64 x 64 pixels, got 32 x 64",
        "00000/samples/0002.png: expected a PNG in RGB, got PNG in L",
        "00000/samples/0003.png: expected a PNG in RGB, got JPEG in RGB",
        "00001/metadata.jsonl: not as in the prompt file",
        "00001/samples/0000.png: not a whole image",
        "00002/metadata.jsonl: missing",
        "00002/samples/0001.png: missing",
        "00002/samples/._0000.png: no file of this layout",
        "00002/samples/0004.png: no file of this layout",
        "nowhere: no file of this layout",
    ]


def test_commands(minimal_bundle: Path, tmp_path: Path) -> None:
    """Draw, draw again, check; then check with something missing."""
    prompts = write_prompts("coco", tmp_path)
    many = ["--prompts", str(prompts), "--layout", "coco"]
    options = ["--drafters", "2", "--tau", "0", "--draft-window", "2", "--bundle", str(minimal_bundle)]
    draw = [sys.executable, "-m", "mulo_sd.engines.generate", *many, "--out", str(tmp_path / "images"), *options]
    first = subprocess.run(draw, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    assert first.stdout.endswith("3 images of 3 prompts, 3 drawn now\n")
    again = subprocess.run(draw, capture_output=True, text=True, check=False)
    assert again.stdout.endswith("3 images of 3 prompts, 0 drawn now\n")
    check = [sys.executable, "-m", "mulo_sd.engines.check_layout", str(tmp_path / "images"), *many]
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
        (["a star", *draw[3:]], "prompt: expected --prompts or prompt, got both; leave one out"),
        ([*draw[3:], "--plan", "p.json"], "--plan: expected --prompts or --plan, got both; leave one out"),
        (
            ["a star", "--out", str(tmp_path / "a.png"), "--layout", "coco"],
            "--layout: expected --prompts beside it, got none",
        ),
        (["--out", "a.png"], "expected a prompt or --condition"),
    ):
        done = subprocess.run([*draw[:3], *wrong], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert told in done.stderr
