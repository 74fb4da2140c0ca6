"""From captions to prefixes."""

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from mulo_sd.engines.prompts.caption_ids import CaptionIds
from mulo_sd.reference.train.folder.caption_prefix import fitting_length
from mulo_sd.reference.train.folder.options import FolderError
from mulo_sd.reference.trained.caption_tokenizer import train_caption_tokenizer
from tests.reference.train.folder.made import Opened, add_pictures


def lengths(*counted: tuple[int, int]) -> np.ndarray:
    counts = np.zeros(66, np.int64)
    for length, count in counted:
        counts[length] += count
    return counts


@pytest.mark.parametrize(
    ("counted", "expected"),
    [
        ([(1, 5)], 8),
        ([(8, 100)], 8),
        ([(9, 100)], 12),
        ([(8, 99), (40, 1)], 8),
        ([(8, 98), (40, 2)], 40),
        ([(8, 98), (41, 2)], 44),
        ([(65, 100)], 64),
        ([], 8),
    ],
)
def test_the_length_that_holds_99_percent(counted: list[tuple[int, int]], expected: int) -> None:
    assert fitting_length(lengths(*counted)) == expected


def test_long_captions_are_cut_and_counted(tmp_path: Path) -> None:
    images = tmp_path / "images"
    add_pictures(images, 200)
    (images / "0007.txt").write_text(" ".join(str(number) for number in range(300)))
    opened = Opened(images, tmp_path / "run")
    assert opened.report.prefix_length == 8
    assert opened.report.cut == 1
    assert any("longer, and cut: 1" in line for line in opened.said)
    fixed = Opened(images, tmp_path / "run", prefix_length=64)
    assert (fixed.report.prefix_length, fixed.report.cut) == (64, 1)
    assert fixed.examples.training(0).condition().shape == (64, 1)


def test_the_vocabulary_is_what_the_captions_give(tmp_path: Path) -> None:
    images = tmp_path / "images"
    add_pictures(images, 20)
    assert Opened(images, tmp_path / "run", vocabulary=262).report.vocabulary == 262
    assert 259 < Opened(images, tmp_path / "run", vocabulary=2048).report.vocabulary < 400


def test_held_out_captions_are_not_learned_from(tmp_path: Path) -> None:
    images = tmp_path / "images"
    add_pictures(images, 40)
    first = Opened(images, tmp_path / "first")
    names = list(first.captions())
    for row in first.examples.split.held_out:
        (images / names[row]).with_suffix(".txt").write_text("xylophone xylophone xylophone")
    second = Opened(images, tmp_path / "second")
    assert second.examples.captions.tokenizer.to_str() == first.examples.captions.tokenizer.to_str()


def test_a_tokenizer_that_is_given(tmp_path: Path) -> None:
    images = tmp_path / "images"
    add_pictures(images, 20)
    given = train_caption_tokenizer(["other words than those of the folder"] * 3, 300)
    CaptionIds(given, 8).save(tmp_path / "captions.json")
    opened = Opened(images, tmp_path / "run", caption_tokenizer=tmp_path / "captions.json")
    assert opened.examples.captions.tokenizer.to_str() == given.to_str()
    example = opened.examples.training(1)
    ids = given.encode(example.caption or "").ids[: opened.report.prefix_length]
    assert example.condition()[: len(ids), 0].tolist() == ids


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "--caption-tokenizer: .*found none"),
        ("{}", "expected a tokenizer in the JSON"),
        ("no JSON", "expected a tokenizer in the JSON"),
        ("other ids", "expected <none>, <null>, <padding> as ids 0, 1 and 2, got a, b, c"),
    ],
)
def test_a_tokenizer_that_cannot_be_used(tmp_path: Path, content: str | None, told: str) -> None:
    images = tmp_path / "images"
    add_pictures(images, 20)
    path = tmp_path / "captions.json"
    if content == "other ids":
        from tokenizers.models import WordLevel

        Tokenizer(WordLevel({"a": 0, "b": 1, "c": 2}, unk_token="a")).save(str(path))
    elif content is not None:
        path.write_text(content)
    with pytest.raises(FolderError, match=told) as caught:
        Opened(images, tmp_path / "run", caption_tokenizer=path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("--caption-tokenizer: ")
    assert not (tmp_path / "run").exists(), "pictures were read for it"
