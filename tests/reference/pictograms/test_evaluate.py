"""The evaluator of pictograms: right on ground truth, and not to be fooled by a planted defect."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from mulo_sd.reference.pictograms.captions import RELATIONS, Relation, Wish, is_plural
from mulo_sd.reference.pictograms.evaluate import LIMITS, Reading, caption_holds, read, relation_holds
from mulo_sd.reference.pictograms.fitted_ground import fit_ground, ground_colour
from mulo_sd.reference.pictograms.grounds import GROUND_COLOURS, Ground, draw_ground
from mulo_sd.reference.pictograms.scenes import BOX, MIDDLE, PIXELS, Placed, Scene, held_out_scenes, place
from mulo_sd.reference.pictograms.sheet import pictograms, sprites

Pixels = NDArray[np.uint8]
ALL = range(len(pictograms()))
SIZES = tuple(LIMITS)
SCENES = list(held_out_scenes(6, first=20_000))
PLAIN = Ground("green", (190.0, 228.0, 188.0), 0.7, 5.0, 4.0, (0.3, -0.5))
each_size = pytest.mark.parametrize("size", SIZES)
# All where they are hardest to tell apart, some of them at the other sizes, at which larger pictures are alike.
each_size_and_step = pytest.mark.parametrize(("size", "step"), [(32, 1), (64, 10), (128, 10)])


def alone(index: int, ground: Ground = PLAIN) -> Scene:
    return Scene(Wish((index,)), (Placed(index, MIDDLE, MIDDLE),), ground)


def found(reading: Reading) -> list[int | None]:
    return [item.pictogram for item in reading.found]


@each_size_and_step
def test_every_pictogram_is_recognised_alone(size: int, step: int) -> None:
    rng = np.random.default_rng(size)
    wrong = []
    for index in ALL[::step]:
        wish = Wish((index,), ground=GROUND_COLOURS[index % len(GROUND_COLOURS)])
        item = Scene(wish, place(wish, rng), draw_ground(rng, wish.ground))
        if not read(item.render(size)).shows(wish):
            wrong.append(wish.caption)
    assert not wrong


@each_size_and_step
def test_every_pictogram_is_recognised_beside_another(size: int, step: int) -> None:
    rng = np.random.default_rng(size)
    order = rng.permutation(len(pictograms())).tolist()
    wrong = []
    for number in range(0, len(order), 2 * step):
        wish = Wish((order[number], order[number + 1]), RELATIONS[number // 2 % 4])
        item = Scene(wish, place(wish, rng), draw_ground(rng))
        if not caption_holds(wish, item.render(size)):
            wrong.append(wish.caption)
    assert not wrong


@each_size
def test_three_pale_pictograms_are_not_taken_for_the_ground(size: int) -> None:
    """They cover more of the picture than any colour of the ground does; its border tells them apart."""
    drawn = sprites(BOX)
    lightness = drawn[..., :3].sum(axis=(1, 2, 3)) / (3 * drawn[..., 3].sum(axis=(1, 2)))
    palest = [index for index in np.argsort(-lightness).tolist() if not is_plural(pictograms()[index].name)][:8]
    rng = np.random.default_rng(0)
    for index in palest:
        for colour in ("grey", "yellow"):
            item = Scene(Wish((index,) * 3), place(Wish((index,) * 3), rng), draw_ground(rng, colour))
            reading = read(item.render(size))
            assert found(reading) == [index] * 3
            assert reading.ground == colour


@each_size
def test_centres_are_where_scenes_placed_them(size: int) -> None:
    for item in SCENES[::3]:
        reading = read(item.render(size))
        for placed in item.placed:
            centre = np.array([placed.left + BOX / 2, placed.top + BOX / 2]) / PIXELS
            same = [one for one in reading.found if one.pictogram == placed.pictogram]
            assert min(np.abs(np.array(one.centre) - centre).max() for one in same) <= 1 / 32


@each_size
def test_grounds_are_fitted_within_a_few_levels(size: int) -> None:
    """At 32 pixels three pictograms, whose edges are blurred, leave little ground to fit."""
    most = 3 if size == 32 else 2
    for item in SCENES:
        fitted = fit_ground(item.render(size).astype(np.float32))
        ratio = PIXELS // size
        true = item.ground.render(PIXELS).reshape(size, ratio, size, ratio, 3).mean(axis=(1, 3))
        assert np.abs(fitted - true).max() <= most
        assert ground_colour(fitted) == item.ground.colour


@each_size
def test_missing_pictogram_is_noticed(size: int) -> None:
    for item in SCENES:
        for gone in range(len(item.placed)):
            left = replace(item, placed=item.placed[:gone] + item.placed[gone + 1 :])
            assert not caption_holds(item.wish, left.render(size))


@each_size
def test_additional_pictogram_is_noticed(size: int) -> None:
    for item in SCENES:
        if len(item.placed) == 2:
            cover = np.zeros((PIXELS, PIXELS), dtype=np.bool_)
            for old in item.placed:
                cover[old.top : old.top + BOX, old.left : old.left + BOX] = True
            corners = [(left, top) for left in range(0, 65, 16) for top in range(0, 65, 16)]
            free = [(x, y) for x, y in corners if not cover[y : y + BOX, x : x + BOX].any()]
            for left, top in free[:1]:
                more = replace(item, placed=(*item.placed, Placed(item.wish.objects[0], left, top)))
                assert not caption_holds(item.wish, more.render(size))
                assert len(read(more.render(size)).found) == 3


@each_size
def test_swapped_pictograms_break_a_relation(size: int) -> None:
    for item in SCENES:
        if item.wish.relation is not None:
            first, second = item.placed
            swapped = (replace(first, pictogram=second.pictogram), replace(second, pictogram=first.pictogram))
            assert not caption_holds(item.wish, replace(item, placed=swapped).render(size))


@pytest.mark.parametrize("relation", RELATIONS)
def test_one_relation_holds_of_a_picture(relation: Relation) -> None:
    """Pictograms side by side are not above each other, however much higher a scene may put one."""
    rng = np.random.default_rng(5)
    for number in range(10):
        wish = Wish((7 * number, 7 * number + 100), relation)
        reading = read(Scene(wish, place(wish, rng), draw_ground(rng)).render(PIXELS))
        assert [other for other in RELATIONS if reading.shows(replace(wish, relation=other))] == [relation]
        assert reading.shows(replace(wish, relation=None))


def test_relations_need_a_distance() -> None:
    assert relation_holds("left of", (0.3, 0.5), (0.7, 0.5))
    assert not relation_holds("left of", (0.45, 0.5), (0.55, 0.5))
    assert relation_holds("below", (0.5, 0.7), (0.5, 0.3))
    assert not relation_holds("above", (0.5, 0.7), (0.5, 0.3))


@each_size
def test_wrong_ground_is_noticed(size: int) -> None:
    for item in SCENES:
        if item.wish.ground is not None:
            reading = read(item.render(size))
            wishes = [replace(item.wish, ground=colour) for colour in GROUND_COLOURS]
            assert [wish.ground for wish in wishes if reading.shows(wish)] == [item.ground.colour]


def test_another_pictogram_of_the_same_colour_is_noticed() -> None:
    drawn = sprites(BOX)
    colours = drawn[..., :3].sum(axis=(1, 2)) / drawn[..., 3:].sum(axis=(1, 2))
    for index in ALL[::12]:
        distances = np.abs(colours - colours[index]).sum(axis=1)
        nearest = int(np.argsort(distances)[1])
        for size in SIZES:
            assert found(read(alone(nearest).render(size))) == [nearest]
            assert not caption_holds(Wish((index,)), alone(nearest).render(size))


def halves(index: int) -> list[Pixels]:
    """Return a pictogram without its left, right, upper or lower half, by what it covers."""
    whole, bare = alone(index).render(PIXELS), Scene(Wish((index,)), (), PLAIN).render(PIXELS)
    cut = []
    for axis in (1, 0):
        covered = np.cumsum(sprites(BOX)[index][..., 3].sum(axis=1 - axis))
        middle = MIDDLE + int(np.searchsorted(covered, covered[-1] / 2))
        for part in (slice(0, middle), slice(middle, None)):
            where = (slice(None), part) if axis else (part, slice(None))
            image = whole.copy()
            image[where] = bare[where]
            cut.append(image)
    return cut


def test_half_a_pictogram_is_noticed() -> None:
    """Except where the other half adds little to it, as the dark half of a moon does."""
    taken = [caption_holds(Wish((index,)), image) for index in ALL[::10] for image in halves(index)]
    assert len(taken) == 120
    assert np.mean(taken) < 0.05


@pytest.mark.parametrize(("size", "most"), [(128, 0.04), (64, 0.1)])
def test_a_blot_is_no_pictogram(size: int, most: float) -> None:
    """A disc, square or diamond in one colour, dark discs aside, which are moons; at 32 pixels much is but a blot."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:PIXELS, :PIXELS]
    taken = []
    for number in range(60):
        image = draw_ground(rng).render(PIXELS)
        (across, down), radius = rng.integers(30, 98, 2), rng.integers(16, 40)
        distances = (
            np.hypot(x - across, y - down),
            np.maximum(abs(x - across), abs(y - down)),
            (abs(x - across) + abs(y - down)) / 1.2,
        )
        image[distances[number % 3] < radius] = rng.integers(0, 256, 3)
        ratio = PIXELS // size
        small = np.rint(image.reshape(size, ratio, size, ratio, 3).mean(axis=(1, 3))).astype(np.uint8)
        taken.append(len(read(small).found) == 1 and found(read(small)) != [None])
    assert np.mean(taken) <= most


@each_size
def test_blots_beside_a_pictogram_are_noticed(size: int) -> None:
    for index in ALL[::30]:
        image = alone(index).render(size)
        assert found(read(image)) == [index]
        corner = size // 4
        image[:corner, :corner] = (20, 30, 160)
        image[-corner:, -corner:] = (150, 20, 90)
        assert not caption_holds(Wish((index,)), image)


@each_size
@pytest.mark.parametrize("seed", range(3))
def test_noise_shows_nothing(size: int, seed: int) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (size, size, 3)).astype(np.uint8)
    assert found(read(noise)) == [None]


@each_size
def test_an_empty_picture_shows_nothing(size: int) -> None:
    for image in (
        Scene(Wish((0,)), (), PLAIN).render(size),
        np.zeros((size, size, 3), dtype=np.uint8),
        np.full((size, size, 3), 255, dtype=np.uint8),
    ):
        assert read(image).found == ()
        assert not any(caption_holds(item.wish, image) for item in SCENES[::7])


@pytest.mark.parametrize("shape", [(256, 256, 3), (100, 100, 3), (128, 64, 3), (128, 128, 4), (128, 128)])
def test_a_picture_of_another_size_is_refused_in_a_line(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"^picture: expected 128, 64 or 32 pixels a side, RGB, got"):
        read(np.zeros(shape, dtype=np.uint8))
