"""The cache: taken where nothing has changed, made anew else, whole or not there whenever a reading is killed."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mulo_sd.processes import environment
from mulo_sd.reference.train.folder import build_cache, cache
from mulo_sd.reference.train.folder.array_file import ArrayFile
from mulo_sd.reference.train.folder.options import FolderError
from tests.reference.train.folder.made import Opened, add_pictures, noise

READ_BACK = {"pictures.npy", "pictures.jsonl", "offsets.npy", "hashes.npy", "pictures.json"}
FOR_PEOPLE = {"left_out.jsonl", "held_out.jsonl"}
FILES = READ_BACK | FOR_PEOPLE
READ = "take up to"
TAKEN = "are there already"
PICTURE_BYTES = 32 * 32 * 3


@pytest.fixture
def images(tmp_path: Path) -> Path:
    add_pictures(tmp_path / "images", 20)
    return tmp_path / "images"


def is_read(opened: Opened) -> bool:
    """Return whether a folder was read, and not taken from its cache."""
    read, taken = (any(word in line for line in opened.said) for word in (READ, TAKEN))
    assert read != taken
    return read


def content(run: Path) -> dict[str, bytes]:
    """Return a cache's files, without what depends on the time."""
    found = {path.name: path.read_bytes() for path in (run / "picture_cache").iterdir()}
    header = json.loads(found.pop("pictures.json"))
    return found | {"header": json.dumps(header | {"fingerprint": ""}).encode()}


def test_what_a_cache_holds(images: Path, tmp_path: Path) -> None:
    opened = Opened(images, tmp_path / "run", size=16)
    names = {path.name for path in opened.examples.cache.folder.iterdir()}
    assert names - {name for name in names if name.startswith("prefix-")} == FILES
    pixels: NDArray[np.uint8] = np.load(opened.examples.cache.folder / "pictures.npy")
    assert (pixels.shape, str(pixels.dtype)) == ((20, 16, 16, 3), "uint8")
    for number in range(20):
        middle = Image.fromarray(noise(number)).resize((16, 16), Image.Resampling.LANCZOS, (4, 0, 44, 40))
        assert np.array_equal(pixels[number], np.asarray(middle))
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["picture_cache", "picture_cache.lock"]


def test_crops_need_larger_pictures(images: Path, tmp_path: Path) -> None:
    assert Opened(images, tmp_path / "run", size=30, augment=("crop",)).examples.cache.header.side == 38


def test_a_second_start_takes_the_cache(images: Path, tmp_path: Path) -> None:
    first = Opened(images, tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "picture_cache").iterdir()}
    (images / "notes.md").write_text("no picture")
    second = Opened(images, tmp_path / "run", seed=3, augment=("flip", "colour"))
    assert (is_read(first), is_read(second)) == (True, False)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert first.said[-3:-1] == second.said[-4:-2], "the same summary"


def _touch(images: Path) -> None:
    os.utime(images / "0003.png", (1, 1))


def _replace(images: Path) -> None:
    Image.fromarray(noise(500)).save(images / "0003.png")


CHANGES: dict[str, Callable[[Path], object]] = {
    "a picture added": lambda images: add_pictures(images, 1, first=90),
    "a picture removed": lambda images: (images / "0003.png").unlink(),
    "a picture replaced": _replace,
    "a picture touched": _touch,
    "a picture renamed": lambda images: (images / "0003.png").rename(images / "3.png"),
    "a caption changed": lambda images: (images / "0003.txt").write_text("another caption"),
    "a caption removed": lambda images: (images / "0003.txt").unlink(),
    "metadata added": lambda images: (images / "metadata.csv").write_text("file_name,text\n0003.png,once more\n"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_folder_is_read_anew(images: Path, tmp_path: Path, change: str) -> None:
    Opened(images, tmp_path / "run")
    CHANGES[change](images)
    anew = Opened(images, tmp_path / "run")
    assert is_read(anew)
    Opened(images, tmp_path / "other")
    assert content(tmp_path / "run") == content(tmp_path / "other")


@pytest.mark.parametrize("options", [{"size": 16}, {"ground": "black"}, {"augment": ("crop",)}, {"smallest_side": 20}])
def test_other_options_read_anew(images: Path, tmp_path: Path, options: dict[str, object]) -> None:
    Opened(images, tmp_path / "run")
    assert is_read(Opened(images, tmp_path / "run", **options))


def test_a_changed_caption_file_is_read_anew(images: Path, tmp_path: Path) -> None:
    captions = tmp_path / "c.csv"
    lines = [f"{number:04}.png,about {number}\n" for number in range(20)]
    captions.write_text("file_name,text\n" + "".join(lines))
    assert is_read(Opened(images, tmp_path / "run", captions=captions))
    assert not is_read(Opened(images, tmp_path / "run", captions=captions))
    captions.write_text("file_name,text\n" + "".join(lines) + "0000.png,and more\n")
    anew = Opened(images, tmp_path / "run", captions=captions)
    assert is_read(anew)
    assert anew.captions()["0000.png"] == ("about 0", "and more")


def test_the_pictures_that_are_held_out_are_named(images: Path, tmp_path: Path) -> None:
    opened = Opened(images, tmp_path / "run")
    lines = (opened.examples.cache.folder / "held_out.jsonl").read_text().splitlines()
    captions = {opened.examples.held_out(index).caption for index in range(opened.report.held_out)}
    assert {record["captions"][0] for record in map(json.loads, lines)} == captions
    assert len(lines) == opened.report.held_out == 8
    told = "split: 12 pictures to learn from, 8 held out, named in picture_cache/held_out.jsonl"
    assert told in opened.said


@pytest.mark.parametrize("name", [*sorted(READ_BACK), "held_out.jsonl", "prefix"])
@pytest.mark.parametrize("damage", ["removed", "cut", "something else"])
def test_a_damaged_cache_is_made_anew(images: Path, tmp_path: Path, name: str, damage: str) -> None:
    first = Opened(images, tmp_path / "run")
    expected = content(tmp_path / "run")
    folder = first.examples.cache.folder
    path = next(folder.glob("prefix-*")) if name == "prefix" else folder / name
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-10] if damage == "cut" else b"[]")
    again = Opened(images, tmp_path / "run")
    assert is_read(again) == (name in READ_BACK)
    assert content(tmp_path / "run") == expected
    assert again.examples.identity == first.examples.identity


@pytest.mark.parametrize("place", ["picture_cache", "picture_cache.partial"])
def test_nothing_of_others_is_deleted(images: Path, tmp_path: Path, place: str) -> None:
    folder = tmp_path / "run" / place
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(FolderError, match=r"got thesis\.tex; move it away"):
        Opened(images, tmp_path / "run")
    assert (folder / "thesis.tex").read_text() == "years of work"
    shutil.rmtree(folder)
    folder.write_text("a file")
    with pytest.raises(FolderError, match="expected a folder that this command wrote"):
        Opened(images, tmp_path / "run")
    assert folder.read_text() == "a file"


def test_a_disk_without_room_is_refused_before_a_picture_is_read(images: Path, tmp_path: Path) -> None:
    """A sparse file system would do; what is wanted here is more than any disk has."""
    free = shutil.disk_usage(tmp_path).free
    count = build_cache.needed_bytes(20, 512, 0)
    assert count < free
    with pytest.raises(FolderError, match="make room, or give another --out"):
        build_cache.check_room(tmp_path, free + 2**32, 0, "the pictures take up to all of it")


CODE = """
import sys
from pathlib import Path
from mulo_sd.reference.train.folder.open_folder import open_folder
from mulo_sd.reference.train.folder.options import FolderOptions

options = FolderOptions(Path(sys.argv[1]), size=32, readers=2)
open_folder(options, Path(sys.argv[2]), lambda line: print(line, flush=True))
"""


def started(images: Path, run: Path) -> subprocess.Popen[str]:
    """Start a reading of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", CODE, str(images), str(run)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def wait_for(process: subprocess.Popen[str], path: Path, size: int) -> None:
    """Wait until a file has a size, or a reading has ended."""
    while process.poll() is None and not (path.exists() and path.stat().st_size >= size):
        time.sleep(0.002)


@pytest.mark.timeout(300)
def test_a_reading_that_is_killed_at_any_moment(tmp_path: Path) -> None:
    """What is left is no cache; the last reading ends as an unbroken one does."""
    images, run = tmp_path / "images", tmp_path / "run"
    add_pictures(images, 1200)
    (images / "0700.png").write_text("no picture")
    Opened(images, tmp_path / "whole", readers=2)
    partial, killed = run / "picture_cache.partial", 0
    moments = (("reading.sqlite", 0), *(("pictures.npy", PICTURE_BYTES * count) for count in (0, 200, 600, 1000)))
    for name, size in moments:
        process = started(images, run)
        wait_for(process, partial / name, size)
        process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        if (run / "picture_cache" / "pictures.json").exists():
            assert is_whole(run)
    assert killed >= 2
    last = Opened(images, run)
    assert last.report.left_out == {"no picture inside": 1}
    assert content(run) == content(tmp_path / "whole")


def is_whole(run: Path) -> bool:
    """Return whether a cache that is there can be used."""
    names = {path.name for path in (run / "picture_cache").iterdir()}
    return names >= FILES and len(np.load(run / "picture_cache" / "pictures.npy")) == 1199


@pytest.mark.timeout(300)
def test_a_killed_reading_is_gone_on_with(tmp_path: Path) -> None:
    images, run = tmp_path / "images", tmp_path / "run"
    add_pictures(images, 2000)
    process = started(images, run)
    pictures = run / "picture_cache.partial" / "pictures.npy"
    wait_for(process, pictures, 600 * PICTURE_BYTES)
    assert process.poll() is None
    process.kill()
    process.communicate()
    with pictures.open("ab") as file:
        file.write(b"what was not noted yet")
    opened = Opened(images, run)
    going_on = next(line for line in opened.said if line.startswith("going on with picture "))
    assert int(going_on.split()[4]) > 256
    Opened(images, tmp_path / "whole")
    assert content(run) == content(tmp_path / "whole")


def test_a_killed_reading_of_another_folder_is_not(images: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "picture_cache.partial").mkdir(parents=True)
    (run / "picture_cache.partial" / "reading.sqlite").write_bytes(b"no catalogue")
    (run / "picture_cache.partial" / "pictures.npy").write_bytes(b"no array")
    assert is_read(Opened(images, run))
    Opened(images, tmp_path / "whole")
    assert content(run) == content(tmp_path / "whole")


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    """A process may not write files beyond a size, as if the disk ended there."""
    images = tmp_path / "images"
    add_pictures(images, 100)
    code = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    code += "resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, resource.RLIM_INFINITY))\n"
    code += CODE.replace("open_folder(options", "try:\n    open_folder(options")
    code += "except ValueError as error:\n  print('one line:', error)\n"
    arguments = [sys.executable, "-c", code, str(images), str(tmp_path / "run")]
    done = subprocess.run(arguments, env=environment(), capture_output=True, text=True, check=False)
    assert "one line: " in done.stdout
    assert "File too large" in done.stdout
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "picture_cache").exists()
    assert is_read(Opened(images, tmp_path / "run"))
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_an_array_file_grows(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    pictures = np.stack([noise(number, 4, 4) for number in range(5)])
    with ArrayFile(path, 4, 0) as array:
        for picture in pictures[:4]:
            array.append(picture)
        array.sync()
    with ArrayFile(path, 4, 3) as array:  # the fourth was not noted
        for picture in pictures[3:]:
            array.append(picture)
        array.finish()
    assert np.array_equal(np.load(path), pictures)


def test_a_folder_that_holds_something_else_stays_as_it_is(tmp_path: Path) -> None:
    """Files by our names are nobody's to remove beside a stranger's."""
    names = ["pictures.json", "hashes.npy", "prefix-1.json", "reading.sqlite", "notes.txt"]
    for name in names:
        (tmp_path / name).write_text(name)
    with pytest.raises(FolderError, match=r"expected nothing but what this command wrote, got notes\.txt"):
        cache.remove(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    (tmp_path / "notes.txt").unlink()
    cache.remove(tmp_path)
    assert not tmp_path.exists()
