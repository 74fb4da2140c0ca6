"""Processes that decode: in order, few pictures at a time, and what becomes of a file that ends them."""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from mulo_sd.reference.train.folder import problems, readers
from mulo_sd.reference.train.folder.options import FolderError
from mulo_sd.reference.train.folder.picture import PictureError, ReadOptions, Square, read_square
from mulo_sd.reference.train.folder.readers import AHEAD, Reader, Readers
from tests.reference.train.folder.made import add_pictures, read_options

# A reader with a decoder that some files bring down.
FRAGILE = """
import os, sys, time
from mulo_sd.reference.train.folder import reader

whole = reader.read_square

def fragile(name, options):
    if name == "0003.png":
        os._exit(3)
    if name == "0005.png":
        time.sleep(60)
    return whole(name, options)

reader.read_square = fragile
reader.answer_requests(reader.ReadOptions.from_line(sys.argv[1]), sys.stdin.buffer, sys.stdout.buffer)
"""


def process_of(reader: Reader) -> int:
    assert reader._process is not None
    return reader._process.pid


def test_pictures_come_in_their_order_and_few_at_a_time(tmp_path: Path) -> None:
    add_pictures(tmp_path, 60, captions=False)
    asked = 0

    def names() -> Iterator[str]:
        nonlocal asked
        for number in range(60):
            asked += 1
            yield f"{number:04}.png"

    options = read_options(tmp_path)
    with Readers(options, 2) as several:
        for number, (name, square) in enumerate(several.squares(names())):
            assert name == f"{number:04}.png"
            assert isinstance(square, Square)
            assert square.hash == read_square(name, options).hash
            assert asked <= number + 2 * AHEAD


def test_a_transparent_picture_is_laid_over_the_ground(tmp_path: Path) -> None:
    """In a reading process as in this one."""
    Image.new("RGBA", (32, 32), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    options = replace(read_options(tmp_path), ground=(10, 200, 30))
    assert ReadOptions.from_line(options.as_line()) == options
    with Readers(options, 1) as several:
        [(_, square)] = several.squares(iter(["clear.png"]))
    assert isinstance(square, Square)
    assert (square.pixels == (10, 200, 30)).all()
    assert square.hash == read_square("clear.png", options).hash


def test_a_file_that_brings_its_decoder_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is left out; the others are read."""
    (tmp_path / "fragile_reader.py").write_text(FRAGILE)
    monkeypatch.setattr(readers, "MODULE", "fragile_reader")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}")
    add_pictures(tmp_path, 8, captions=False)
    with Readers(read_options(tmp_path), 2, seconds=5) as several:
        answers = list(several.squares(f"{number:04}.png" for number in range(8)))
    whys = {name: str(answer) for name, answer in answers if isinstance(answer, PictureError)}
    assert whys == {
        "0003.png": "expected a picture, got a file that ended the process that decoded it",
        "0005.png": "expected a picture, got a file that took more than 5 s",
    }
    assert all(answer.kind == problems.BROKEN for _, answer in answers if isinstance(answer, PictureError))


def test_a_process_that_the_system_ended(tmp_path: Path) -> None:
    """No file is blamed for it."""
    add_pictures(tmp_path, 2, captions=False)
    reader = Reader(read_options(tmp_path))
    reader.square("0000.png")
    first = process_of(reader)
    os.kill(first, signal.SIGKILL)
    assert reader.square("0001.png").width == 48
    assert process_of(reader) != first
    reader.close()


def test_processes_end_with_their_readers(tmp_path: Path) -> None:
    add_pictures(tmp_path, 40, captions=False)
    with Readers(read_options(tmp_path), 2) as several:
        next(several.squares(f"{number:04}.png" for number in range(40)))
        processes = [reader._process for reader in several._readers if reader._process is not None]
    assert processes
    assert all(process.poll() is not None for process in processes)
    assert all(reader._process is None for reader in several._readers)


def test_processes_that_do_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "MODULE", "no_such_module")
    with (
        pytest.raises(FolderError, match="expected a process that decodes pictures to start"),
        Readers(read_options(tmp_path), 1) as several,
    ):
        list(several.squares(["a.png"]))


def test_a_process_that_starts_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_reader.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setattr(readers, "MODULE", "slow_reader")
    monkeypatch.setattr(readers, "START_SECONDS", 0.2)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}")
    reader = Reader(read_options(tmp_path))
    with pytest.raises(FolderError, match=r"to start, got one that took more than 0\.2 s$"):
        reader.square("a.png")


@pytest.mark.timeout(60)
def test_a_reading_that_ends_waits_for_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its threads start no other process for the one that they hold, which may hang that as well."""
    code = "import sys, time\nprint('ready', flush=True)\nsys.stdin.readline()\nopen('asked', 'w')\n"
    (tmp_path / "hanging_reader.py").write_text(f"{code}time.sleep(600)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(readers, "MODULE", "hanging_reader")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}")
    with Readers(read_options(tmp_path), 1) as several:
        answer = several._threads.submit(several._square, "a.png")
        while not (tmp_path / "asked").exists():
            time.sleep(0.01)
    assert answer.done()
    assert several._readers[0]._process is None


def test_reading_processes_load_no_torch(tmp_path: Path) -> None:
    """They start in a moment, and stay small."""
    add_pictures(tmp_path, 1, captions=False)
    reader = Reader(read_options(tmp_path))
    reader.square("0000.png")
    maps = Path(f"/proc/{process_of(reader)}/maps").read_text()
    reader.close()
    assert "_imaging" in maps
    assert "libtorch" not in maps
