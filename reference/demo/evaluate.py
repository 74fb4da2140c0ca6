"""The evaluator: recovers the objects of a scene from its pixels and says whether a prompt holds.

Objects are connected regions of saturated or dark pixels: fillings and their outlines. A region's
colour is the palette's nearest to most of its filling; its shape is the one whose rendered silhouettes
it covers best, once both are brought to the same area and centre.
"""

from dataclasses import dataclass
from functools import cache
from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from mulo_sd.engines.prompts.grammar import Prompt
from mulo_sd.engines.prompts.plan import Plan, PlannedObject, relation_holds
from mulo_sd.engines.prompts.vocabulary import COLOURS, RADII, SHAPES, Colour, Shape
from mulo_sd.reference.demo.scene import COLOUR_TO_RGB, OUTLINE_WIDTH, Background, render

WORKING_SIZE = 128  # pixels a side
MIN_CHROMA = 64  # largest minus smallest channel; backgrounds and outlines stay well below
MIN_AREA_SHARE = 0.002  # of the image; the smallest star covers eight times that
MAX_DARK = 120  # largest channel of an outline's pixel
MIN_PURITY = 0.75  # share of a filling's pixels that have its colour
SILHOUETTE_SIZE = 32  # samples a side
SILHOUETTE_SIDE = 2.0  # in square roots of the area; the farthest tip, a triangle's, lies 0.88 from the middle
# Overlap is intersection over union. Circle and square, the two most alike, overlap by 0.86; shapes that
# the tokenizer reconstructed overlap their own by 0.91 or more and lead by 0.12 or more.
MIN_OVERLAP = 0.88
MIN_LEAD = 0.05  # over the next shape
RELATION_MARGIN = 0.05

_PALETTE = np.array([COLOUR_TO_RGB[colour] for colour in COLOURS], dtype=np.float64)
_PLAIN = Background((220.0, 220.0, 220.0), (220.0, 220.0, 220.0), 0.0, (0.0, 0.0, 0.0))


@dataclass(frozen=True)
class FoundObject:
    """An object recovered from pixels; shape or colour is None where none fits."""

    shape: Shape | None
    colour: Colour | None
    centre: tuple[float, float]  # (x, y) as fractions of the image's side


@dataclass(frozen=True)
class _Region:
    """A connected region of an image."""

    box: tuple[slice, slice]  # rows and columns of the image
    mask: NDArray[np.bool_]  # which pixels of the box belong to it
    middle: tuple[float, float]  # its centroid (row, column) inside the box

    def silhouette(self) -> NDArray[np.float32]:
        """Return the mask at unit area around its centroid, Float32[SILHOUETTE_SIZE, SILHOUETTE_SIZE] in 0..1."""
        half = SILHOUETTE_SIDE / 2 * np.sqrt(self.mask.sum())
        along = np.linspace(-half, half, SILHOUETTE_SIZE)
        places = np.meshgrid(self.middle[0] + along, self.middle[1] + along, indexing="ij")
        mask = self.mask.astype(np.float32)
        return np.asarray(ndimage.map_coordinates(mask, places, order=1, mode="grid-constant"))


def _saturated(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    values = pixels.astype(np.int16)
    chroma = values.max(axis=-1) - values.min(axis=-1)
    return np.asarray(chroma >= MIN_CHROMA)


def _regions(pixels: NDArray[np.uint8]) -> list[_Region]:
    dark = pixels.max(axis=-1) <= MAX_DARK
    # Opening takes off stray pixels of a soft edge.
    mask = ndimage.binary_opening(ndimage.binary_fill_holes(dark | _saturated(pixels)))
    labels, _ = ndimage.label(mask)
    regions = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        inside = labels[rows, columns] == number
        if inside.sum() >= MIN_AREA_SHARE * mask.size:
            ys, xs = inside.nonzero()
            regions.append(_Region((rows, columns), inside, (float(ys.mean()), float(xs.mean()))))
    return regions


@cache
def _templates(size: int) -> NDArray[np.float32]:
    """Return the silhouettes of every shape at every radius, rendered at `size` pixels a side.

    Returns:
        Float32[len(SHAPES), len(RADII), SILHOUETTE_SIZE, SILHOUETTE_SIZE].
    """
    templates = []
    for shape in SHAPES:
        for size_bin in range(len(RADII)):
            item = PlannedObject(shape=shape, colour="blue", x=8, y=8, size=size_bin)
            (region,) = _regions(render(Plan(objects=(item,)), _PLAIN, size))
            templates.append(region.silhouette())
    return np.stack(templates).reshape(len(SHAPES), len(RADII), SILHOUETTE_SIZE, SILHOUETTE_SIZE)


def _shape(region: _Region, size: int) -> Shape | None:
    templates, silhouette = _templates(size), region.silhouette()
    shared = np.minimum(templates, silhouette).sum(axis=(-2, -1))
    covered = np.maximum(templates, silhouette).sum(axis=(-2, -1))
    overlaps = (shared / covered).max(axis=1)
    second, best = np.sort(overlaps)[-2:]
    if best < MIN_OVERLAP or best - second < MIN_LEAD:
        return None
    return SHAPES[int(overlaps.argmax())]


def _colour(pixels: NDArray[np.uint8], region: _Region) -> Colour | None:
    # Pixels at the outline mix its dark with the filling: without them the filling is left alone.
    steps = round(OUTLINE_WIDTH * pixels.shape[0])
    filling = ndimage.binary_erosion(region.mask, np.ones((3, 3), dtype=np.bool_), iterations=steps)
    inside = pixels[region.box][filling]
    if len(inside) == 0:
        return None
    nearest = np.linalg.norm(inside[:, None].astype(np.float64) - _PALETTE, axis=-1).argmin(axis=1)
    counts = np.bincount(nearest[_saturated(inside)], minlength=len(COLOURS))
    best = int(counts.argmax())
    return COLOURS[best] if counts[best] >= MIN_PURITY * len(inside) else None


def find_objects(pixels: NDArray[np.uint8]) -> list[FoundObject]:
    """Recover the objects of an image.

    Args:
        pixels: UInt8[S, S, 3], RGB; below WORKING_SIZE pixels a side it is enlarged first.
    """
    if pixels.shape[0] < WORKING_SIZE:
        enlarged = Image.fromarray(pixels).resize((WORKING_SIZE, WORKING_SIZE), Image.Resampling.BICUBIC)
        pixels = np.asarray(enlarged)
    size = pixels.shape[0]
    objects = []
    for region in _regions(pixels):
        row, column = (side.start + middle for side, middle in zip(region.box, region.middle, strict=True))
        centre = ((column + 0.5) / size, (row + 0.5) / size)
        objects.append(FoundObject(_shape(region, size), _colour(pixels, region), centre))
    return objects


def prompt_holds(prompt: Prompt, pixels: NDArray[np.uint8]) -> bool:
    """Whether an image, UInt8[S, S, 3], shows exactly what a prompt asks for: no object less, none more."""
    objects = find_objects(pixels)
    if len(objects) != len(prompt.objects):
        return False
    for order in permutations(objects):
        matches = all(
            item.shape == wanted.shape and item.colour is not None and wanted.colour in (None, item.colour)
            for item, wanted in zip(order, prompt.objects, strict=True)
        )
        if matches and (
            prompt.relation is None
            or relation_holds(prompt.relation, order[0].centre, order[1].centre, RELATION_MARGIN)
        ):
            return True
    return False
