"""The folder of a run: of the first version, of killed processes, of two at once, or one that cannot be written."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from mulo_sd.engines.bundle.manifest import MANIFEST_NAME
from mulo_sd.engines.commands import run_folder, run_images
from mulo_sd.engines.commands.draw_many import Run
from mulo_sd.engines.commands.image_record import read_record
from mulo_sd.engines.commands.layouts import LayoutError
from mulo_sd.engines.commands.run_folder import in_use
from mulo_sd.engines.commands.run_progress import shown_progress
from mulo_sd.engines.service.pipeline import Pipeline
from tests.engines.commands.runs import OPTIONS, plain_tasks


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


# Stays in the folder until a file appears in it, and then dies as an actor does that Ray kills.
STAYING = """
import os, signal, sys, time
from pathlib import Path
from mulo_sd.engines.commands.image_claims import opened_claims
from mulo_sd.engines.commands.run_folder import in_use
folder = Path(sys.argv[1])
with in_use(folder), opened_claims(folder):
    print(flush=True)
    while not (folder / "end").exists():
        time.sleep(0.02)
    time.sleep(0.3)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_last_to_leave_removes_the_claims(tmp_path: Path) -> None:
    """Also where the others are killed just then; those that stay keep them."""
    process = subprocess.Popen([sys.executable, "-c", STAYING, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"\n"
    with in_use(tmp_path):
        pass
    assert (tmp_path / ".claims").exists()
    with in_use(tmp_path, others_end_within=60.0) as alone:
        assert alone is False
        (tmp_path / "end").touch()
    assert not (tmp_path / ".claims").exists()
    process.communicate(timeout=60)


def test_a_folder_that_cannot_be_written_is_told_before_the_decode(
    start: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it was begun before; and a folder that a link leads to is made."""
    (tmp_path / "images").symlink_to(tmp_path / "far")
    run = start(plain_tasks("a star"))
    assert (tmp_path / "far" / "run.json").is_file()

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(run_images, "check_writable", refuse)
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


def test_a_folder_of_something_else_is_left_as_it_is(tmp_path: Path) -> None:
    """Another command may be writing there, deeper in it, into a temporary folder of the same kind."""
    written = tmp_path / "training" / ".partial-abcd1234" / "target.safetensors"
    written.parent.mkdir(parents=True)
    written.write_bytes(b"weights")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(LayoutError, match="expected an empty folder or one begun before, got something else"):
        run_folder.begin(tmp_path, {"seed": 1}, {})
    assert sorted(tmp_path.rglob("*")) == before
