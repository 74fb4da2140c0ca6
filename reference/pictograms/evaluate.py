"""The evaluator: which pictogram is where, by nearest rendering, and whether a caption holds.

The ground is a polynomial of second degree, so it is fitted; what differs from it is explained by pictograms of the
sheet, the one that explains most first, until nothing that counts is left.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mulo_sd.reference.pictograms.captions import Relation, Wish
from mulo_sd.reference.pictograms.fitted_ground import fit_ground, ground_colour
from mulo_sd.reference.pictograms.nearest import Candidate, best_candidate

WORKING_SIZE = 64  # pixels a side; smaller pictures stay as they are
MAX_OBJECTS = 4  # one more than a caption asks for
# A pixel that differs by more than this from what was found, in one channel, is unexplained.
STRAY_LEVELS = 56
COVERED = 0.5  # of a pixel: more of it is the pictogram's own
# Where fewer pixels than this share of a picture differ by so many levels, no pictogram is left: the palest has thrice
# as many.
FEWEST_PIXELS, FEWEST_LEVELS = 0.006, 24
# Of the picture's side; scenes differ by 0.44 and more along a relation, and by 0.13 at most across it.
RELATION_MARGIN = 0.2


@dataclass(frozen=True)
class Limits:
    """What counts as a pictogram; the tokenizer blurs small pictures more than large ones.

    Attributes:
        unexplained: A pictogram leaves no more than this share of its own energy in its box ...
        half: ... and each half of it, the left, right, upper and lower, no more than this share of the half's.
        clear: One that leaves more than this share leaves less than a blot of its outline, in one colour, would.
        stray: Unexplained pixels beside the pictograms, as a share of the picture; more of them are something else.
    """

    unexplained: float
    half: float
    clear: float
    stray: float


# By pixels a side. Of reconstructed pictograms 99% leave no more than 0.06, 0.17 and 0.40; beside them no more than
# 0.0015, 0.017 and 0.029 of a picture is unexplained. A drawing that a person takes for the pictogram may leave half of
# its energy, where an outline lies a pixel beside its place; one of which a half is missing leaves all of that half's.
LIMITS = {
    128: Limits(0.5, 0.75, 0.05, 0.015),
    64: Limits(0.5, 0.75, 0.15, 0.03),
    32: Limits(0.5, 0.75, 0.4, 0.06),
}
# Of a pictogram's energy; a half that has less tells nothing.
TELLING_SHARE = 0.15


@dataclass(frozen=True)
class FoundPictogram:
    """A pictogram recovered from pixels.

    Attributes:
        pictogram: Its index; None for something that is none of the sheet.
        centre: (x, y) as fractions of the picture's side.
    """

    pictogram: int | None
    centre: tuple[float, float]


@dataclass(frozen=True)
class Reading:
    """What a picture shows.

    Attributes:
        found: Its pictograms, the one that explains most first.
        ground: Name of the ground's colour.
    """

    found: tuple[FoundPictogram, ...]
    ground: str

    def shows(self, wish: Wish) -> bool:
        """Whether it is what a caption asks for: these pictograms, as often, no others, and where it says."""
        if Counter(item.pictogram for item in self.found) != Counter(wish.objects):
            return False
        if wish.ground not in (None, self.ground):
            return False
        if wish.relation is None:
            return True
        centres = {item.pictogram: item.centre for item in self.found}
        first, second = (centres[index] for index in wish.objects)
        return relation_holds(wish.relation, first, second)


def _reduced(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a picture at the working size, Float32[s, s, 3].

    Raises:
        ValueError: it is no square of 128, 64 or 32 pixels a side.
    """
    size = len(image)
    if image.shape != (size, size, 3) or size not in LIMITS:
        raise ValueError(f"picture: expected 128, 64 or 32 pixels a side, RGB, got {image.shape}")
    ratio = max(1, size // WORKING_SIZE)
    small = size // ratio
    reduced: NDArray[np.float32] = image.astype(np.float32).reshape(small, ratio, small, ratio, 3).mean(axis=(1, 3))
    return reduced


def read(image: NDArray[np.uint8]) -> Reading:
    """Return what a picture shows, UInt8[s, s, 3] with s 128, 64 or 32.

    Raises:
        ValueError: the picture has another size.
    """
    pixels = _reduced(image)
    ground = fit_ground(pixels)
    return Reading(_found(pixels - ground, ground, LIMITS[len(image)]), ground_colour(ground))


def _found(rest: NDArray[np.float32], ground: NDArray[np.float32], limits: Limits) -> tuple[FoundPictogram, ...]:
    """Take pictograms out of what differs from the ground, Float32[s, s, 3], which is changed."""
    size = len(rest)
    free = np.ones((size, size), dtype=np.bool_)
    there = []
    for _ in range(MAX_OBJECTS):
        if _stray(rest, FEWEST_LEVELS).mean() < FEWEST_PIXELS:
            break
        candidate = best_candidate(rest, ground)
        if not _is_there(rest, candidate, limits):
            break
        rest[candidate.rows, candidate.columns] -= candidate.drawn
        free[candidate.rows, candidate.columns] &= candidate.alpha[..., 0] < COVERED
        centre = (candidate.columns.start + candidate.columns.stop, candidate.rows.start + candidate.rows.stop)
        there.append(FoundPictogram(candidate.pictogram, (centre[0] / 2 / size, centre[1] / 2 / size)))
    if (_stray(rest, STRAY_LEVELS) & free).mean() > limits.stray:
        there.append(FoundPictogram(None, (0.5, 0.5)))
    return tuple(there)


def _is_there(rest: NDArray[np.float32], candidate: Candidate, limits: Limits) -> bool:
    """Whether a pictogram explains what differs from the ground, Float32[s, s, 3], in its box."""
    box = rest[candidate.rows, candidate.columns]
    energies, unexplained = (candidate.drawn**2).sum(axis=-1), ((box - candidate.drawn) ** 2).sum(axis=-1)
    energy, left = float(energies.sum()), float(unexplained.sum())
    if not left <= limits.unexplained * energy:
        return False
    for half in _halves(len(box)):
        own = float(energies[half].sum())
        if own >= TELLING_SHARE * energy and not float(unexplained[half].sum()) <= limits.half * own:
            return False
    if left <= limits.clear * energy:
        return True
    colour = (candidate.alpha * box).sum(axis=(0, 1)) / (candidate.alpha**2).sum()
    return left < float(((box - candidate.alpha * colour) ** 2).sum())


def _halves(side: int) -> list[tuple[slice, slice]]:
    """Return the upper, lower, left and right half of a square: rows and columns."""
    first, second, whole = slice(0, side // 2), slice(side // 2, side), slice(0, side)
    return [(first, whole), (second, whole), (whole, first), (whole, second)]


def _stray(rest: NDArray[np.float32], levels: int) -> NDArray[np.bool_]:
    stray: NDArray[np.bool_] = np.abs(rest).max(axis=-1) > levels
    return stray


def relation_holds(relation: Relation, first: tuple[float, float], second: tuple[float, float]) -> bool:
    """Whether the first lies as a relation says from the second, by their centres, as fractions of the side."""
    along = 0 if relation in ("left of", "right of") else 1
    ahead = second[along] - first[along]
    return (ahead if relation in ("left of", "above") else -ahead) > RELATION_MARGIN


def caption_holds(wish: Wish, image: NDArray[np.uint8]) -> bool:
    """Whether a picture shows what a caption asks for.

    Args:
        wish: What the caption asks for.
        image: UInt8[s, s, 3] with s 128, 64 or 32.

    Raises:
        ValueError: the picture has another size.
    """
    return read(image).shows(wish)
