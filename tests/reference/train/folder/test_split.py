"""Which pictures are held out."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from mulo_sd.reference.train.folder.options import FolderError
from mulo_sd.reference.train.folder.split import LEAST, MOST, split
from tests.reference.train.folder.made import Opened, add_pictures, noise

SHARES = st.floats(0.001, 0.5)


def hashes(count: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 16), dtype=np.uint8)


@given(st.integers(16, 3000), SHARES, st.integers(0, 99))
def test_every_picture_is_on_one_side(count: int, share: float, seed: int) -> None:
    chosen = split(hashes(count, seed), share)
    assert sorted([*chosen.training.tolist(), *chosen.held_out.tolist()]) == list(range(count))
    assert LEAST <= len(chosen.held_out) <= MOST


@given(st.integers(16, 800), st.integers(0, 3000), SHARES, st.integers(0, 99), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_added_pictures_hold_out_none_that_was_learned_from(
    count: int, added: int, share: float, seed: int, random: object
) -> None:
    """Wherever the new ones stand among the others."""
    all_hashes = hashes(count + added, seed)
    before = split(all_hashes[:count], share)
    order = np.arange(count + added)
    random.shuffle(order)  # type: ignore[attr-defined]
    after = split(all_hashes[order], share)
    held_out_now = set(order[after.held_out].tolist())
    assert not held_out_now & set(before.training.tolist())
    below = all_hashes[:count, :8].copy().view(">u8")[:, 0] < int(share * 2**64)
    if len(after.held_out) < MOST:
        assert {row for row in before.held_out.tolist() if below[row]} <= held_out_now


def test_a_share_that_leaves_too_few_is_refused(tmp_path: Path) -> None:
    """By chance nearly all of a small folder may be below it."""
    seed = next(seed for seed in range(100) if len(split(hashes(16, seed), 0.5).training) < LEAST)
    assert len(split(hashes(16, seed), 0.05).training) == LEAST
    images = tmp_path / "images"
    for first in range(0, 16_000, 1000):
        shutil.rmtree(images, ignore_errors=True)
        add_pictures(images, 16, first=first)
        found = Opened(images, tmp_path / "run").examples
        assert len(found.split.training) == LEAST
        if len(split(found.cache.hashes(), 0.5).training) < LEAST:
            break
    with pytest.raises(FolderError, match="--held-out-share: expected at least 8 pictures to learn from"):
        Opened(images, tmp_path / "run", held_out_share=0.5)


def test_the_share() -> None:
    for share in (0.01, 0.05, 0.3):
        assert abs(len(split(hashes(3000), share).held_out) - 3000 * share) < 60
    assert len(split(hashes(100_000), 0.05).held_out) == MOST
    assert len(split(hashes(20), 0.05).held_out) == LEAST


def test_copies_are_on_one_side(tmp_path: Path) -> None:
    """Of other names and formats, too: they are one picture, with the captions of all."""
    images = tmp_path / "images"
    add_pictures(images, 60)
    for number in range(0, 60, 2):
        Image.fromarray(noise(number)).save(images / f"copy {number}.bmp")
        (images / f"copy {number}.txt").write_text(f"copy of {number}")
    opened = Opened(images, tmp_path / "run", held_out_share=0.3)
    assert (opened.report.pictures, opened.report.kept, opened.report.copies) == (90, 60, 30)
    assert opened.captions()["0002.png"] == ("picture number 2", "copy of 2")
    assert "copies: 30; the picture that they look like has their captions, too" in opened.said
    examples = opened.examples
    training = {examples.training(n).render(32).tobytes() for n in range(opened.report.training)}
    held_out = {examples.held_out(n).render(32).tobytes() for n in range(opened.report.held_out)}
    assert len(training) == opened.report.training
    assert len(held_out) == opened.report.held_out
    assert not training & held_out


def test_added_files_leave_the_split_as_it_is(tmp_path: Path) -> None:
    images = tmp_path / "images"
    add_pictures(images, 80, first=100)

    def sides(run: str, **options: object) -> tuple[set[str], set[str]]:
        opened = Opened(images, tmp_path / run, held_out_share=0.3, **options)
        names = list(opened.captions())
        chosen = opened.examples.split
        return {names[row] for row in chosen.training}, {names[row] for row in chosen.held_out}

    before = sides("a")
    assert sides("b", size=64, augment=("crop",)) == before, "at another size"
    add_pictures(images, 40, first=0)
    add_pictures(images, 40, first=300)
    after = sides("c")
    assert before[0] <= after[0]
    assert before[1] <= after[1]
