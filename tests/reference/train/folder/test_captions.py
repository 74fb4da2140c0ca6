"""Every form of captions, and what is refused in caption files."""

import csv
import json
import os
from pathlib import Path

import pytest
from PIL import Image

from mulo_sd.reference.train.folder.caption_lines import MAX_LINE_BYTES
from mulo_sd.reference.train.folder.options import FolderError
from tests.reference.train.folder.made import Opened, add_pictures, noise, write_jsonl

COUNT = 16


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of pictures without captions, half of them in a sub-folder."""
    folder = tmp_path / "images"
    add_pictures(folder, COUNT // 2, captions=False)
    add_pictures(folder / "sub" / "deep", COUNT // 2, first=COUNT // 2, captions=False)
    return folder


def names() -> list[str]:
    return [f"{'sub/deep/' if number >= COUNT // 2 else ''}{number:04}.png" for number in range(COUNT)]


def expected() -> dict[str, tuple[str, ...]]:
    return {name: (f"about {name}",) for name in names()}


def test_texts_beside_pictures(images: Path, tmp_path: Path) -> None:
    for name in names():
        (images / name).with_suffix(".txt").write_bytes(f"\ufeffabout {name}\r\n\r\n".encode())
    assert Opened(images, tmp_path / "run").captions() == expected()


def test_every_line_of_a_text_is_a_caption(images: Path, tmp_path: Path) -> None:
    for name in names():
        (images / name).with_suffix(".txt").write_text(f"  about\t{name} \n\nseen again\nseen again\n")
    found = Opened(images, tmp_path / "run").captions()
    assert found == {name: (f"about {name}", "seen again") for name in names()}


@pytest.mark.parametrize("name_field", ["file_name", "image", "file", "path"])
@pytest.mark.parametrize("text_field", ["text", "caption", "prompt"])
def test_jsonl(images: Path, tmp_path: Path, name_field: str, text_field: str) -> None:
    rows = [{name_field: name, text_field: f"about {name}", "other": [1, None]} for name in names()]
    file = write_jsonl(tmp_path / "captions.jsonl", *rows)
    assert Opened(images, tmp_path / "run", captions=file).captions() == expected()


def test_csv(images: Path, tmp_path: Path) -> None:
    file = tmp_path / "captions.csv"
    with file.open("w", newline="", encoding="utf-8-sig") as opened:
        writer = csv.writer(opened)
        writer.writerow(["split", "file_name", "caption"])
        writer.writerows(["train", name, f'a "quoted", long\ncaption of {name}'] for name in names())
    found = Opened(images, tmp_path / "run", captions=file).captions()
    assert found == {name: (f'a "quoted", long caption of {name}',) for name in names()}


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_metadata_of_an_imagefolder(images: Path, tmp_path: Path, form: str) -> None:
    """Found without being named; its names begin at its own folder."""
    for folder, own in ((images, names()[: COUNT // 2]), (images / "sub", names()[COUNT // 2 :])):
        rows = [(os.path.relpath(images / name, folder), f"about {name}") for name in own]
        path = folder / f"metadata.{form}"
        if form == "csv":
            path.write_text("file_name,text\n" + "".join(f"{name},{text}\n" for name, text in rows))
        else:
            write_jsonl(path, *({"file_name": name, "text": text} for name, text in rows))
    assert Opened(images, tmp_path / "run").captions() == expected()


def test_several_captions_of_a_picture(images: Path, tmp_path: Path) -> None:
    """As a list, as lines, and beside it: each is drawn in some view."""
    rows: list[object] = [{"file_name": name, "text": ["one", f"two {name}", " "]} for name in names()]
    rows += [{"file_name": name, "text": "three"} for name in names()]
    write_jsonl(images / "metadata.jsonl", *rows)
    (images / "0000.txt").write_text("four")
    opened = Opened(images, tmp_path / "run")
    found = opened.captions()
    assert found.pop("0000.png") == ("one", "two 0000.png", "three", "four")
    assert found == {name: ("one", f"two {name}", "three") for name in names()[1:]}
    seen = {opened.examples.training(index).caption for index in range(400)}
    of_training = {opened.examples.training(index).row for index in range(len(opened.examples.split.training))}
    assert {f"two {names()[row]}" for row in of_training} | {"one", "three"} <= seen


def test_a_named_file_stands_for_all_others(images: Path, tmp_path: Path) -> None:
    write_jsonl(images / "metadata.jsonl", *({"file_name": name, "text": "metadata"} for name in names()))
    (images / "0000.txt").write_text("beside it")
    file = write_jsonl(images / "mine.jsonl", *({"image": name, "prompt": f"about {name}"} for name in names()))
    opened = Opened(images, tmp_path / "run", captions=file)
    assert opened.captions() == expected()
    assert opened.report.other_files == {}


def test_paths_that_leave_the_folder_are_refused(images: Path, tmp_path: Path) -> None:
    Image.fromarray(noise(99)).save(tmp_path / "secret.png")
    away = ["../secret.png", "sub/../../secret.png", str(tmp_path / "secret.png"), "/etc/passwd", "..", "."]
    rows = [{"file_name": name, "text": "away"} for name in away]
    rows += [{"file_name": name, "text": f"about {name}"} for name in names()[2:]]
    rows.append({"file_name": str(images.resolve() / names()[0]), "text": f"about {names()[0]}"})
    rows.append({"file_name": f"sub/../{names()[1]}", "text": f"about {names()[1]}"})
    opened = Opened(images, tmp_path / "run", captions=write_jsonl(tmp_path / "c.jsonl", *rows))
    assert opened.captions() == expected()
    assert opened.report.left_out == {"caption of a path outside the folder": len(away)}
    told = [line for line in opened.said if "outside" in line and line.startswith("left out")]
    assert len(told) == len(away)
    assert "c.jsonl: line 1" in told[0]
    assert "'../secret.png'" in told[0]


BAD_LINES: list[tuple[str, str]] = [
    ("{", "expected JSON, got: "),
    ("[1, 2]", "expected an object"),
    ('"text"', "expected an object"),
    ('{"file_name": "0000.png"}', "expected a text"),
    ('{"file_name": "0000.png", "text": ""}', "expected a text"),
    ('{"file_name": "0000.png", "text": 7}', "expected a text"),
    ('{"file_name": "0000.png", "text": []}', "expected a text"),
    ('{"text": "nothing named"}', "expected the name"),
    ('{"file_name": ["0000.png"], "text": "a"}', "expected the name"),
    ('{"file_name": "a\\u0000.png", "text": "a"}', "expected the name"),
    ('{"file_name": "\\ud800.png", "text": "a"}', "half a character"),
    ('{"file_name": "0000.png", "file_name": "b", "text": "a"}', "twice"),
    ("[" * 100_000, "nested too deeply"),
]


def test_lines_that_cannot_be_used_end_nothing(images: Path, tmp_path: Path) -> None:
    file = tmp_path / "c.jsonl"
    lines = [line.encode() for line, _ in BAD_LINES]
    lines += [
        b'{"file_name": "0000.png", "text": "\xff"}',
        b'{"text": "' + b"a" * 3 * MAX_LINE_BYTES + b'"}',
        b"",
        b"  ",
    ]
    lines += [json.dumps({"file_name": name, "text": f"about {name}"}).encode() for name in names()]
    file.write_bytes(b"\n".join(lines))  # the last line has no end
    opened = Opened(images, tmp_path / "run", captions=file)
    assert opened.captions() == expected()
    assert opened.report.left_out == {"caption line that cannot be used": len(BAD_LINES) + 2}
    told = [line for line in opened.said if line.startswith("left out: ")]
    wanted = [*(why for _, why in BAD_LINES), "UTF-8", f"at most {MAX_LINE_BYTES} bytes"]
    for number, (line, why) in enumerate(zip(told, wanted, strict=True), start=1):
        assert f"line {number}: " in line
        assert why in line


def test_lines_of_csv_that_cannot_be_used(images: Path, tmp_path: Path) -> None:
    file = tmp_path / "c.csv"
    text = "file_name,text\n0000.png\n0000.png,\n,text\n\n" + "".join(f"{name},about {name}\n" for name in names())
    file.write_text(text + f'0001.png,"{"a" * (MAX_LINE_BYTES // 2)}\n{"b" * (MAX_LINE_BYTES // 2)}\n')
    opened = Opened(images, tmp_path / "run", captions=file)
    assert opened.captions() == expected()
    assert opened.report.left_out == {"caption line that cannot be used": 4}


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("c.json", b"[]", "expected captions in a file .jsonl or .csv"),
        ("c.jsonl", None, "cannot read"),
        ("c.jsonl", b"", "expected lines with the names and captions of pictures, got none"),
        ("c.jsonl", b"[1]\n", "c.jsonl: line 1: expected an object with file_name or image"),
        ("c.jsonl", "a text".encode("utf-16"), "UTF-8"),
        ("c.csv", b"name,caption\n", "expected a header with file_name or image"),
        ("c.csv", b"file_name;text\n", "got 'file_name;text': save it with commas in place of semicolons"),
        ("c.csv", b"file_name\ttext\n", "save it with commas in place of tabs"),
        ("c.csv", b"", "expected a header"),
        ("c.csv", "file_name,text\n".encode("utf-16"), "expected text in UTF-8, got UTF-16"),
        ("c.csv", b"file_name,text\na.png,\xff\n", "line 2: expected text in UTF-8"),
        ("c.csv", b"file_name,text\n" + b"a" * (MAX_LINE_BYTES + 1), "line 2: expected at most"),
        ("c.csv", b"file_name,text\n", "expected lines with the names"),
    ],
)
def test_files_that_say_nothing(images: Path, tmp_path: Path, name: str, content: bytes | None, told: str) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(FolderError) as caught:
        Opened(images, tmp_path / "run", captions=file)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pictures_without_captions_are_counted(images: Path, tmp_path: Path) -> None:
    add_pictures(images, 3, first=100, captions=False)
    rows = [{"file_name": name, "text": f"about {name}"} for name in [*names(), "no such.png", "cat.jpg"]]
    opened = Opened(images, tmp_path / "run", captions=write_jsonl(tmp_path / "c.jsonl", *rows))
    assert opened.captions() == expected()
    assert (opened.report.without_caption, opened.report.captions_of_no_picture) == (3, 2)
    assert "left out: 3 without a caption, the first is 0100.png" in opened.said
    assert f"pictures: {COUNT + 3} found, {COUNT} used; left out: 3 without a caption" in opened.said


def test_no_captions_at_all(images: Path, tmp_path: Path) -> None:
    with pytest.raises(FolderError) as caught:
        Opened(images, tmp_path / "run")
    for form in ("cat.txt", "metadata.jsonl", "metadata.csv", "--captions", "JSONL or CSV", "file_name"):
        assert form in str(caught.value)
    file = write_jsonl(tmp_path / "c.jsonl", {"file_name": "images/0000.png", "text": "one folder too far up"})
    with pytest.raises(FolderError, match=r"name others, such as images/0000\.png"):
        Opened(images, tmp_path / "run", captions=file)


def test_pictures_alone_where_captions_are_not_needed(images: Path, tmp_path: Path) -> None:
    examples = Opened(images, tmp_path / "run", need_captions=False).examples
    example = examples.training(0)
    assert example.caption is None
    assert (example.condition() == examples.null_condition()).all()
    with pytest.raises(FolderError, match="expected captions of its"):
        Opened(images, tmp_path / "run")
    again = Opened(images, tmp_path / "run", need_captions=False)
    assert any("are there already" in line for line in again.said)
    assert again.said[-3] == f"pictures: {COUNT} found, {COUNT} used; left out: none"


def test_a_refused_reading_does_not_keep_pictures_alone_from_being_read(images: Path, tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="expected captions of its"):
        Opened(images, tmp_path / "run")
    assert Opened(images, tmp_path / "run", need_captions=False).report.kept == COUNT


def test_all_models_of_a_folder_learn_from_the_same_pictures(images: Path, tmp_path: Path) -> None:
    """A tokenizer needs no captions, but where there are some it takes the pictures that have them."""
    for name in names():
        (images / name).with_suffix(".txt").write_text(f"about {name}")
    add_pictures(images, 3, first=100, captions=False)
    alone = Opened(images, tmp_path / "run", need_captions=False)
    assert (alone.report.kept, alone.report.without_caption) == (COUNT, 3)
    assert "left out: 3 without a caption, the first is 0100.png" in alone.said
    whole = Opened(images, tmp_path / "run")
    assert any("are there already" in line for line in whole.said)
    assert whole.examples.identity == alone.examples.identity


def test_a_quote_that_is_never_closed_is_told_where_it_opens(images: Path, tmp_path: Path) -> None:
    lines = [f"{name},about {name}" for name in names()]
    file = tmp_path / "c.csv"
    file.write_text("\n".join(["file_name,text", *lines, '0100.png,"an open quote', "0101.png,lost", "0102.png,lost"]))
    opened = Opened(images, tmp_path / "run", captions=file)
    assert opened.captions() == expected()
    told = next(line for line in opened.said if "closing quote" in line)
    assert f"c.csv: line {COUNT + 2}: " in told
    assert f"expected a closing quote, found none up to line {COUNT + 4}, the last; all of that is lost" in told


def test_a_field_twice_in_a_header_is_refused(images: Path, tmp_path: Path) -> None:
    file = tmp_path / "c.csv"
    file.write_text("file_name,text,text\n0000.png,one,another\n")
    with pytest.raises(FolderError, match="expected each field once in the header, got 'text' twice"):
        Opened(images, tmp_path / "run", captions=file)


def test_a_named_caption_file_is_meant(images: Path, tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "c.jsonl", {"file_name": "nothing.png", "text": "nothing"})
    with pytest.raises(FolderError, match=r"name others, such as nothing\.png"):
        Opened(images, tmp_path / "run", captions=file, need_captions=False)


def test_two_spellings_of_a_name(images: Path, tmp_path: Path) -> None:
    """Some systems write "é" as two characters; caption files have one."""
    Image.fromarray(noise(77)).save(images / "cafe\u0301 \u732b.png")
    rows = [{"file_name": name, "text": f"about {name}"} for name in names()]
    rows.append({"file_name": "caf\u00e9 \u732b.png", "text": "a caf\u00e9 \u732b \ud800"})
    opened = Opened(images, tmp_path / "run", captions=write_jsonl(tmp_path / "c.jsonl", *rows))
    assert opened.captions()["cafe\u0301 \u732b.png"] == ("a caf\u00e9 \u732b ?",)


def test_texts_that_cannot_be_used(images: Path, tmp_path: Path) -> None:
    for name in names():
        (images / name).with_suffix(".txt").write_text(f"about {name}")
    add_pictures(images, 5, first=100, captions=False)
    (images / "0100.txt").write_bytes(b"\xff\xfe\0\0")
    (images / "0101.txt").write_bytes(b"")
    (images / "0102.txt").write_bytes(b"a" * 2**17)
    (tmp_path / "secret.txt").write_text("a secret")
    (images / "0103.txt").symlink_to(tmp_path / "secret.txt")
    (images / "0104.txt").write_bytes(b" \n\t\n")
    opened = Opened(images, tmp_path / "run")
    assert opened.captions() == expected()
    assert opened.report.left_out == {"text file that cannot be used": 3, "link out of the folder": 1}
    assert opened.report.without_caption == 5
