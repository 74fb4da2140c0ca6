"""Augmentations: what each changes, how far, and that a view is the same in every run."""

from pathlib import Path

import numpy as np
import pytest

from mulo_sd.reference.train.folder.augment import JITTER, colour, crop, flip, says_sides, view
from mulo_sd.reference.train.folder.options import FolderError, FolderOptions, augmentations
from tests.reference.train.folder.made import Opened, add_pictures, noise

RAMP = np.stack(np.broadcast_arrays(np.arange(40)[:, None], np.arange(40)[None], 7), -1).astype(np.uint8)


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_flip() -> None:
    picture = noise(1, 8, 8)
    flipped = [flip(picture, rng(seed)) for seed in range(200)]
    mirrored = [np.array_equal(item, picture[:, ::-1]) for item in flipped]
    assert all(
        is_mirrored or np.array_equal(item, picture) for is_mirrored, item in zip(mirrored, flipped, strict=True)
    )
    assert 70 < sum(mirrored) < 130


def test_crop() -> None:
    """The colours of a ramp tell which part is seen."""
    for seed in range(200):
        seen = crop(RAMP, 32, rng(seed)).astype(int)
        assert seen.shape == (32, 32, 3)
        heights, widths = seen[:, 16, 0], seen[16, :, 1]
        spans = (heights[-1] - heights[0] + 1, widths[-1] - widths[0] + 1)
        assert abs(spans[0] - spans[1]) <= 1
        assert 31 <= spans[0] <= 40
        assert abs(seen[..., 2] - 7).max() <= 1
    tops = {int(crop(RAMP, 32, rng(seed))[0, 0, 0]) for seed in range(300)}
    assert tops >= set(range(8))


def test_colour() -> None:
    grey = np.full((8, 8, 3), 128, np.uint8)
    means = [float(colour(grey, rng(seed)).mean()) for seed in range(300)]
    assert 128 * (1 - JITTER) - 1 <= min(means) < 124
    assert 132 < max(means) <= 128 * (1 + JITTER) + 1
    picture = noise(1, 16, 16)
    changes = [np.abs(colour(picture, rng(seed)).astype(int) - picture).max() for seed in range(50)]
    assert max(changes) <= 255 * 0.18
    assert min(changes) > 0


@pytest.mark.parametrize(
    ("caption", "says"),
    [
        ("a cat left of a dog", True),
        ("on the RIGHT-hand side", True),
        ("the leftmost key", True),
        ("facing right.", True),
        ("bright light upright leftover", False),
        ("a cat above a dog", False),
        ("", False),
    ],
)
def test_captions_that_say_sides(caption: str, says: bool) -> None:
    assert says_sides(caption) is says


def test_pictures_are_not_mirrored_with_such_captions() -> None:
    picture = noise(1, 32, 32)
    assert all(np.array_equal(view(picture, 32, ("flip",), "left of it", 0, index), picture) for index in range(50))
    assert not all(np.array_equal(view(picture, 32, ("flip",), "above it", 0, index), picture) for index in range(50))


def test_each_has_its_own_random_numbers() -> None:
    """What one draws does not depend on the others."""
    picture = noise(1, 40, 40)
    for index in range(30):
        cropped = view(picture, 32, ("crop",), "", 5, index)
        both = view(picture, 32, ("flip", "crop"), "", 5, index)
        assert np.array_equal(both, cropped) or np.array_equal(both, cropped[:, ::-1])
        resized = view(picture, 32, (), "", 5, index)
        mirrored = not np.array_equal(view(picture, 32, ("flip",), "", 5, index), resized)
        assert mirrored == (not np.array_equal(both, cropped))


def test_views_are_the_same_in_every_run(tmp_path: Path) -> None:
    images = tmp_path / "images"
    add_pictures(images, 24)
    for number in range(24):
        (images / f"{number:04}.txt").write_text("one\ntwo\nthree\nleft of four\n")

    def views(run: str, **options: object) -> list[tuple[bytes, str | None]]:
        examples = Opened(images, tmp_path / run, **options).examples
        return [(example.render(16).tobytes(), example.caption) for example in map(examples.training, range(100))]

    chosen = {"augment": ("flip", "crop", "colour"), "size": 16}
    first = views("a", **chosen)
    assert views("a", **chosen) == first
    assert views("b", **chosen) == first
    other = views("a", **chosen, seed=1)
    assert sum(one == two for one, two in zip(first, other, strict=True)) < 5
    assert len(set(first)) == 100, "no view is seen twice"
    assert {caption for _, caption in first} == {"one", "two", "three", "left of four"}


def test_what_is_said_of_mirrored_pictures(tmp_path: Path) -> None:
    images = tmp_path / "images"
    add_pictures(images, 24)
    (images / "0003.txt").write_text("left of it\nright\nabove")
    opened = Opened(images, tmp_path / "run", augment=("flip",))
    assert opened.report.sided == 2
    assert any(line.startswith("flip: captions that say left or right: 2") for line in opened.said)
    without = Opened(images, tmp_path / "run")
    assert without.report.sided is None
    assert not any(line.startswith("flip") for line in without.said)


def test_names_of_augmentations() -> None:
    assert augmentations("") == ()
    assert augmentations("colour, flip,flip") == ("flip", "colour")
    for text in ("mirror", "flip,all"):
        with pytest.raises(FolderError, match="--augment: expected some of flip, crop, colour"):
            augmentations(text)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"size": 15}, "--pixels"),
        ({"size": 513}, "--pixels"),
        ({"size": 32.5}, "--pixels"),
        ({"held_out_share": 0}, "--held-out-share"),
        ({"held_out_share": float("nan")}, "--held-out-share"),
        ({"vocabulary": 258}, "--vocabulary"),
        ({"prefix_length": 7}, "--prefix-length"),
        ({"prefix_length": 65}, "--prefix-length"),
        ({"seed": -1}, "--seed"),
        ({"readers": 65}, "--readers"),
        ({"max_pixels": 0}, "--max-pixels"),
        ({"max_file_bytes": 0}, "--max-file-bytes"),
        ({"smallest_side": 0}, "--smallest-side"),
        ({"ground": "#12345"}, "--ground"),
        ({"ground": "beige"}, "--ground"),
        ({"augment": ("blur",)}, "--augment"),
    ],
)
def test_options_out_of_their_range(options: dict[str, object], told: str) -> None:
    with pytest.raises(FolderError, match=f"{told}: expected .*, got ") as caught:
        FolderOptions(Path("images"), **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
