"""The evaluator: recovers the objects of a scene from its pixels and says whether a prompt holds.

Objects are connected regions of saturated or dark pixels: fillings and their outlines. A region's colour is the palette's nearest to its
median; its shape is the one whose renderings have the most similar region properties.
"""

from dataclasses import dataclass
from functools import cache
from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.measure import label, regionprops

from engines.prompts.grammar import Prompt
from engines.prompts.plan import Plan, PlannedObject, relation_holds
from engines.prompts.vocabulary import COLOURS, RADII, SHAPES, Colour, Shape
from reference.demo.scene import COLOUR_TO_RGB, Background, render

WORKING_SIZE = 128  # pixels a side
MIN_CHROMA = 64  # largest minus smallest channel; backgrounds and outlines stay well below
MIN_AREA_SHARE = 0.002  # of the image; the smallest star covers eight times that
MAX_DARK = 120  # largest channel of an outline's pixel
MIN_PURITY = 0.75  # share of a region's inner pixels that have its colour
MAX_SHAPE_DISTANCE = 0.16
RELATION_MARGIN = 0.05

_PALETTE = np.array([COLOUR_TO_RGB[colour] for colour in COLOURS], dtype=np.float64)
_PLAIN = Background((220.0, 220.0, 220.0), (220.0, 220.0, 220.0), 0.0, (0.0, 0.0, 0.0))


@dataclass(frozen=True)
class FoundObject:
    """An object recovered from pixels; shape or colour is None where none fits."""

    shape: Shape | None
    colour: Colour | None
    centre: tuple[float, float]  # (x, y) as fractions of the image's side


def _shape_features(region: "regionprops") -> NDArray[np.float64]:
    """Solidity, extent, height over width, and how far below its box's middle the region's centroid lies."""
    top, left, bottom, right = region.bbox
    height, width = bottom - top, right - left
    sag = (region.centroid[0] + 0.5 - (top + bottom) / 2) / height
    return np.array([region.solidity, region.extent, 0.5 * height / width, 2 * sag])


def _saturated(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    values = pixels.astype(np.int16)
    chroma = values.max(axis=-1) - values.min(axis=-1)
    return np.asarray(chroma >= MIN_CHROMA)


def _regions(pixels: NDArray[np.uint8]) -> "list[regionprops]":
    dark = pixels.max(axis=-1) <= MAX_DARK
    mask = ndimage.binary_fill_holes(dark | _saturated(pixels))
    # Opening takes off stray pixels of a soft edge, which would stretch a region's box.
    regions = regionprops(label(ndimage.binary_opening(mask), connectivity=1))
    return [region for region in regions if region.area >= MIN_AREA_SHARE * mask.size]


@cache
def _prototypes(size: int) -> tuple[NDArray[np.float64], list[Shape]]:
    """Features of every shape at every radius, rendered at `size` pixels a side."""
    features, shapes = [], []
    for shape in SHAPES:
        for size_bin in range(len(RADII)):
            item = PlannedObject(shape=shape, colour="blue", x=8, y=8, size=size_bin)
            regions = _regions(render(Plan(objects=(item,)), _PLAIN, size))
            features += [_shape_features(region) for region in regions]
            shapes += [shape] * len(regions)
    return np.array(features), shapes


def _colour(pixels: NDArray[np.uint8], region: "regionprops") -> Colour | None:
    box = pixels[region.slice]
    # Pixels at the outline mix its dark with the filling: two steps of erosion leave the filling alone.
    inside = box[ndimage.binary_erosion(region.image, iterations=2) & _saturated(box)]
    if len(inside) == 0:
        return None
    nearest = np.linalg.norm(inside[:, None].astype(np.float64) - _PALETTE, axis=-1).argmin(axis=1)
    counts = np.bincount(nearest, minlength=len(COLOURS))
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
    features, shapes = _prototypes(size)
    found = []
    for region in _regions(pixels):
        distances = np.linalg.norm(features - _shape_features(region), axis=1)
        nearest = int(distances.argmin())
        shape = shapes[nearest] if distances[nearest] <= MAX_SHAPE_DISTANCE else None
        centre = (float(region.centroid[1] + 0.5) / size, float(region.centroid[0] + 0.5) / size)
        found.append(FoundObject(shape, _colour(pixels, region), centre))
    return found


def prompt_holds(prompt: Prompt, pixels: NDArray[np.uint8]) -> bool:
    """Whether an image, UInt8[S, S, 3], shows exactly what a prompt asks for: no object less, none more."""
    found = find_objects(pixels)
    if len(found) != len(prompt.objects):
        return False
    for order in permutations(found):
        matches = all(
            item.shape == asked.shape and item.colour is not None and asked.colour in (None, item.colour)
            for item, asked in zip(order, prompt.objects, strict=True)
        )
        if matches and (
            prompt.relation is None
            or relation_holds(prompt.relation, order[0].centre, order[1].centre, RELATION_MARGIN)
        ):
            return True
    return False
