"""Whole folders: bad files among good ones, odd names, links, and what is said of it all."""

import os
import pickle
import shutil
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mulo_sd.reference.train.examples import Examples, conditions_of, images_of
from mulo_sd.reference.train.folder.options import FolderError
from tests.reference.train.folder.made import Opened, add_pictures, noise
from tests.reference.train.folder.test_picture import BAD

GOOD = 40


def test_bad_files_end_nothing(tmp_path: Path) -> None:
    """Each is told once, and counted by its kind."""
    images = tmp_path / "images"
    add_pictures(images, GOOD)
    for name, (make, _) in BAD.items():
        (images / f"bad {name}").write_bytes(make())
        (images / f"bad {name}").with_suffix(".txt").write_text("a bad one")
    (images / "vector.svg").write_text("<svg/>")
    (images / "README").write_text("text")
    opened = Opened(images, tmp_path / "run", max_pixels=2**20, max_file_bytes=2**20)
    report = opened.report
    assert (report.pictures, report.kept, report.copies) == (GOOD + len(BAD), GOOD, 0)
    assert report.left_out == Counter(kind for _, kind in BAD.values())
    assert report.other_files == {".svg": 1, "without a suffix": 1}
    told = [line for line in opened.said if line.startswith("left out: ")]
    assert len(told) == len(BAD)
    for name, (_, kind) in BAD.items():
        assert sum(line.startswith(f"left out: bad {name}: {kind}: expected ") for line in told) == 1
    kinds = ", ".join(f"{count} {kind}" for kind, count in report.left_out.items())
    assert f"pictures: {GOOD + len(BAD)} found, {GOOD} used; left out: {kinds}" in opened.said
    left_out = (opened.examples.cache.folder / "left_out.jsonl").read_text().splitlines()
    assert len(left_out) == len(BAD)


def test_odd_names(tmp_path: Path) -> None:
    """A name is bytes: spaces, line ends, any script, and bytes that are no text."""
    images = tmp_path / "images"
    add_pictures(images, 16)
    odd = [
        "a b.png",
        "line\nend.png",
        "\u732b \U0001f600.PNG",
        "caf\udce9.png",
        " .png",
        "tab\t'quoted\".png",
        "a.b.png",
    ]
    for number, name in enumerate(odd, start=100):
        Image.fromarray(noise(number)).save(images / "x.png")
        (images / "x.png").rename(images / name)
        (images / f"{os.path.splitext(name)[0]}.txt").write_text(f"odd {number}")  # noqa: PTH122
    (images / "bad\n\udce9.png").write_text("no picture")
    (images / "bad\n\udce9.txt").write_text("no picture")
    opened = Opened(images, tmp_path / "run")
    found = opened.captions()
    assert {name: found[name] for name in odd} == {
        name: (f"odd {number}",) for number, name in enumerate(odd, start=100)
    }
    assert all("\n" not in line and line.isprintable() for line in opened.said)
    assert any(r"bad\n\udce9.png" in line for line in opened.said)


def test_links(tmp_path: Path) -> None:
    images = tmp_path / "images"
    add_pictures(images, 16)
    add_pictures(images / "sub", 2, first=50)
    Image.fromarray(noise(200)).save(tmp_path / "outside.png")
    for name in ("out", "nowhere", "inner", "loop"):
        (images / f"{name}.txt").write_text(name)
    (images / "out.png").symlink_to(tmp_path / "outside.png")
    (images / "nowhere.png").symlink_to("no such file.png")
    (images / "inner.png").symlink_to("sub/0050.png")
    (images / "loop.png").symlink_to("loop.png")
    (images / "folder").symlink_to("sub")
    (images / "sub" / "up").symlink_to("..")
    (tmp_path / "link").symlink_to(images)
    opened = Opened(tmp_path / "link", tmp_path / "run")
    assert opened.report.left_out == {"link to a folder": 2, "unreadable": 2, "link out of the folder": 1}
    found = opened.captions()
    assert len(found) == 18
    assert found["inner.png"] == ("inner", "picture number 50"), "a copy gives its captions to the first"
    assert opened.report.copies == 1


def test_other_things_than_files(tmp_path: Path) -> None:
    images = tmp_path / "images"
    add_pictures(images, 16)
    add_pictures(images / ".hidden", 3, first=60)
    (images / "._0001.png").write_bytes(b"what macOS leaves")
    os.mkfifo(images / "pipe.png")
    (images / "folder.png").mkdir()
    opened = Opened(images, tmp_path / "run")
    assert opened.report.left_out == {"not a plain file": 1}
    assert opened.report.kept == 16


def test_unreadable_files(tmp_path: Path) -> None:
    (tmp_path / "closed").touch(0)
    if os.access(tmp_path / "closed", os.R_OK):
        pytest.skip("root may read everything")
    images = tmp_path / "images"
    add_pictures(images, 17)
    add_pictures(images / "closed", 1, first=60)
    (images / "0003.png").chmod(0)
    (images / "closed").chmod(0)
    try:
        opened = Opened(images, tmp_path / "run")
    finally:
        (images / "closed").chmod(0o755)
    assert opened.report.left_out == {"unreadable": 2}


def test_what_a_run_writes_is_no_picture(tmp_path: Path) -> None:
    images = tmp_path / "images"
    add_pictures(images, 16)
    run = images / "runs" / "first"
    add_pictures(run, 5, first=70)
    opened = Opened(images, run)
    assert opened.report.pictures == 16
    with pytest.raises(FolderError, match="--out: expected another folder"):
        Opened(images, images)


@pytest.mark.parametrize(
    ("count", "copies", "told"),
    [
        (0, 0, "expected pictures"),
        (3, 0, "expected at least 16 pictures with captions, got 3"),
        (15, 9, "expected at least 16 different pictures that can be used, got 15"),
    ],
)
def test_too_few_pictures(tmp_path: Path, count: int, copies: int, told: str) -> None:
    images = tmp_path / "images"
    add_pictures(images, count)
    for number in range(copies):
        (images / f"copy {number}.png").write_bytes((images / "0000.png").read_bytes())
        (images / f"copy {number}.txt").write_text("once more")
    with pytest.raises(FolderError, match=told) as caught:
        Opened(images, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "picture_cache").exists()


def test_what_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="found nothing at"):
        Opened(tmp_path / "no such", tmp_path / "run")
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match="found a file at"):
        Opened(tmp_path / "file", tmp_path / "run")
    add_pictures(tmp_path / "images", 1)
    with pytest.raises(FolderError, match="got a file"):
        Opened(tmp_path / "images", tmp_path / "file")


def test_examples(tmp_path: Path) -> None:
    """What trainers ask for."""
    images = tmp_path / "images"
    add_pictures(images, 30)
    opened = Opened(images, tmp_path / "run", size=32, vocabulary=280)
    examples: Examples = opened.examples
    assert (examples.prefix_length, examples.prefix_vocabulary) == (opened.report.prefix_length, 280)
    views = [examples.training(index) for index in range(22)]
    assert images_of(views, 8).shape == (22, 3, 8, 8)
    conditions = conditions_of(views, examples.null_condition(), [False] * 21 + [True])
    assert conditions.shape == (22, examples.prefix_length, 1)
    assert int(conditions.max()) < 280
    assert (conditions[21] == 1).all()
    assert len({tuple(row.ravel().tolist()) for row in conditions[:21]}) == 21
    for size in (32, 16, 4, 1):
        means = views[0].render(32).astype(float).reshape(size, 32 // size, size, 32 // size, 3).mean(axis=(1, 3))
        assert np.abs(views[0].render(size) - means).max() <= 0.5
        assert views[0].render(size).dtype == np.uint8
    with pytest.raises(FolderError, match="expected a multiple of 5"):
        views[0].render(5)
    assert not views[0].focus(4).any()
    assert views[0].focus(4).shape == (4, 4)


def test_a_picture_is_seen_with_its_own_caption(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number in range(40):
        Image.new("RGB", (40, 40), (6 * number, 0, 0)).save(images / f"{number}.png")
        (images / f"{number}.txt").write_text(str(6 * number))
    examples = Opened(images, tmp_path / "run").examples
    seen = [examples.training(index) for index in range(64)] + [examples.held_out(index) for index in range(20)]
    for example in seen:
        assert int(example.render(1)[0, 0, 0]) == int(example.caption or -1)


def test_held_out_examples_wrap_around(tmp_path: Path) -> None:
    images = tmp_path / "images"
    add_pictures(images, 30)
    for number in range(30):
        (images / f"{number:04}.txt").write_text(f"{number}\nonce more {number}\n")
    examples = Opened(images, tmp_path / "run", augment=("flip", "crop", "colour")).examples
    count = len(examples.split.held_out)
    assert count == 8
    first, second, third = ([examples.held_out(lap * count + n) for n in range(count)] for lap in range(3))
    for one, other, again in zip(first, second, third, strict=True):
        assert np.array_equal(one.render(32), other.render(32)), "as it is, every time"
        assert one.caption == again.caption
        assert other.caption == f"once more {one.caption}"


def test_another_process_sees_the_same(tmp_path: Path) -> None:
    images = tmp_path / "images"
    add_pictures(images, 30)
    examples = Opened(images, tmp_path / "run", augment=("crop", "colour")).examples
    examples.training(0).render(16)  # maps the files
    sent = pickle.dumps(examples)
    assert len(sent) < 40_000, "no pictures in it"
    copy = pickle.loads(sent)
    for index in (0, 5, 1000):
        assert np.array_equal(copy.training(index).render(32), examples.training(index).render(32))
        assert np.array_equal(copy.training(index).condition(), examples.training(index).condition())
    assert copy.identity == examples.identity


def test_what_examples_depend_on_is_their_identity(tmp_path: Path) -> None:
    images = tmp_path / "images"
    add_pictures(images, 30)
    given: list[dict[str, object]] = [
        {},
        {"seed": 1},
        {"size": 16},
        {"augment": ("flip",)},
        {"vocabulary": 270},
        {"prefix_length": 24},
        {"held_out_share": 0.4},
        {"ground": "black"},
    ]
    identities = [Opened(images, tmp_path / "run", **options).examples.identity for options in given]
    assert len({repr(identity) for identity in identities}) == len(given)
    assert Opened(images, tmp_path / "run").examples.identity == identities[0]
    shutil.copytree(images, tmp_path / "copy", copy_function=shutil.copyfile)
    assert Opened(tmp_path / "copy", tmp_path / "run").examples.identity == identities[0]
    assert Opened(images, tmp_path / "run", need_captions=False).examples.identity == identities[0]
    (images / "0000.txt").write_text("another picture\n")
    assert Opened(images, tmp_path / "run").examples.identity != identities[0]


def test_two_processes_at_once_read_a_folder_once(tmp_path: Path) -> None:
    images, found = tmp_path / "images", []
    add_pictures(images, 60)
    threads = [threading.Thread(target=lambda: found.append(Opened(images, tmp_path / "run"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said = [line for opened in found for line in opened.said]
    assert sum("take up to" in line for line in said) == 1
    assert sum("are there already" in line for line in said) == 1
    assert found[0].examples.identity == found[1].examples.identity


def test_what_was_done_to_pictures_is_counted(tmp_path: Path) -> None:
    images = tmp_path / "images"
    add_pictures(images, 18)
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(noise(0)).convert("CMYK").save(images / "0000.jpg")
    Image.fromarray(noise(1)).convert("RGBA").save(images / "0001.png")
    for number in (2, 3):
        Image.fromarray(noise(number)).save(images / f"{number:04}.png", exif=turned)
    opened = Opened(images, tmp_path / "run")
    assert opened.report.converted == {"turned as EXIF says": 2, "from CMYK": 1, "laid over the ground": 1}
    assert "converted: 2 turned as EXIF says, 1 from CMYK, 1 laid over the ground" in opened.said
    again = Opened(images, tmp_path / "run")
    assert again.report.converted == opened.report.converted


def test_a_folder_that_cannot_be_used_leaves_nothing_of_its_reading(tmp_path: Path) -> None:
    images, run = tmp_path / "images", tmp_path / "run"
    add_pictures(images, 15)
    with pytest.raises(FolderError, match="expected at least 16"):
        Opened(images, run)
    assert [path.name for path in run.iterdir()] == ["picture_cache.lock"]
    add_pictures(images, 1, first=20)
    assert Opened(images, run).report.kept == 16
