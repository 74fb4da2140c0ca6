"""The shipped sheet: what is in it, whose it is, and that the commands which made it make it again."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont

from mulo_sd.reference.pictograms import make_sheet
from mulo_sd.reference.pictograms.examples import CAPTIONS_FILE
from mulo_sd.reference.pictograms.sheet import COLUMNS, SHEET_FOLDER, SIDE, pictograms, sprites
from tests.in_process import InProcess

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
NAMES = Path("/usr/share/unicode/emoji/emoji-test.txt")


def test_three_hundred_pictograms_of_six_groups() -> None:
    assert len(pictograms()) == 300
    assert {item.group for item in pictograms()} == {"faces", "animals", "food", "things", "places", "signs"}
    assert len({item.name for item in pictograms()}) == 300
    assert [item.index for item in pictograms()] == list(range(300))


@pytest.mark.parametrize(("side", "overshoot"), [(84, 0), (64, 16), (44, 16)])
def test_sprites_are_drawings_that_differ(side: int, overshoot: float) -> None:
    """Where they are not as large as in the sheet, the filter overshoots at edges."""
    drawn = sprites(side)
    assert drawn.shape == (300, side, side, 4)
    assert drawn[..., 3].min() == 0
    assert drawn[..., 3].max() == 1
    assert (drawn[..., :3] - 255 * drawn[..., 3:]).max() <= overshoot
    assert drawn[..., 3].mean(axis=(1, 2)).min() > 0.08
    assert len({item.tobytes() for item in drawn}) == 300


def test_the_licenses_lie_beside_what_they_are_of() -> None:
    drawings = (SHEET_FOLDER / "OFL-1.1.txt").read_text(encoding="utf-8")
    for words in ("Noto Color Emoji, version 2.042", "Google Inc.", "SIL OPEN FONT LICENSE Version 1.1", "DISCLAIMER"):
        assert words in drawings
    names = (SHEET_FOLDER / "Unicode-DFS-2016.txt").read_text(encoding="utf-8")
    for words in ("emoji-test.txt", "They are modified", "1991-2022 Unicode, Inc.", "IN NO EVENT SHALL"):
        assert words in names


@pytest.mark.skipif(not (FONT.is_file() and NAMES.is_file()), reason="needs Noto Color Emoji and Unicode's list")
def test_the_font_draws_what_the_sheet_shows() -> None:
    font = ImageFont.truetype(str(FONT), make_sheet.FONT_SIZE)
    with Image.open(SHEET_FOLDER / "pictograms.webp") as file:
        sheet = np.asarray(file.convert("RGBA"))
    by_name = {item.name: item for item in make_sheet.candidates(NAMES, font)}
    assert len(by_name) > 400
    for item in pictograms():
        candidate = by_name[item.name]
        assert candidate.group == item.group
        left, top = item.index % COLUMNS * SIDE, item.index // COLUMNS * SIDE
        shown, drawn = sheet[top : top + SIDE, left : left + SIDE], np.asarray(candidate.image)
        assert np.array_equal(shown[..., 3], drawn[..., 3])
        assert np.array_equal(shown[shown[..., 3] > 0], drawn[drawn[..., 3] > 0])


def test_the_captions_tokenizer_is_trained_again_to_the_byte(in_process: InProcess, tmp_path: Path) -> None:
    out = tmp_path / "captions.json"
    done = in_process.run("mulo_sd.reference.pictograms.make_captions", "--out", str(out))
    assert (done.returncode, done.stdout, done.stderr) == (0, f"wrote 1500 ids to {out}\n", "")
    assert out.read_bytes() == CAPTIONS_FILE.read_bytes()


def test_a_folder_that_is_not_there_is_told_before_training(in_process: InProcess, tmp_path: Path) -> None:
    out = tmp_path / "none" / "captions.json"
    done = in_process.run("mulo_sd.reference.pictograms.make_captions", "--out", str(out))
    assert done.returncode == 2
    assert f"--out: {out}: cannot write it" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("option", ["--font", "--names"])
def test_a_sheet_without_font_or_names_is_refused_in_a_line(option: str, in_process: InProcess, tmp_path: Path) -> None:
    given = {"--font": FONT, "--names": NAMES} | {option: tmp_path / "none"}
    if option == "--names" and not FONT.is_file():
        pytest.skip("needs Noto Color Emoji")
    arguments = [word for name, path in given.items() for word in (name, str(path))]
    done = in_process.run("mulo_sd.reference.pictograms.make_sheet", *arguments, "--out", str(tmp_path / "sheet"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "sheet").exists()
