"""Procedural scenes: anti-aliased shapes with an outline on a soft background, at any size."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.prompts.plan import Plan, PlannedObject
from mulo_sd.engines.prompts.vocabulary import Colour, Shape

COLOUR_TO_RGB: dict[Colour, tuple[int, int, int]] = {
    "red": (214, 40, 40),
    "orange": (247, 140, 30),
    "yellow": (248, 218, 48),
    "green": (44, 160, 68),
    "cyan": (40, 196, 212),
    "blue": (44, 84, 212),
    "purple": (132, 52, 176),
    "pink": (246, 124, 188),
}
OUTLINE_RGB = (36, 36, 44)
OUTLINE_WIDTH = 0.022  # of the image's side


def _regular(corners: int, first_angle: float) -> NDArray[np.float64]:
    angles = np.deg2rad(first_angle) + 2 * np.pi * np.arange(corners) / corners
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _star() -> NDArray[np.float64]:
    points = _regular(10, -90.0)
    points[1::2] *= 0.5
    return points * 1.18


def _cross() -> NDArray[np.float64]:
    arm = 0.36
    quarter = [(arm, -1.0), (arm, -arm), (1.0, -arm)]
    turns = [np.array([[1, 0], [0, 1]]), np.array([[0, -1], [1, 0]])]
    turns += [-turns[0], -turns[1]]
    return np.concatenate([np.array(quarter) @ turn.T for turn in turns])


# Corners on a unit disc, y downwards; a circle has none.
SHAPE_TO_CORNERS: dict[Shape, NDArray[np.float64]] = {
    "square": _regular(4, 45.0) * 1.2,
    "triangle": _regular(3, -90.0) * 1.15,
    "star": _star(),
    "diamond": _regular(4, 0.0) * np.array([0.8, 1.15]),
    "cross": _cross(),
}


def signed_distance(shape: Shape, x: NDArray[np.float64], y: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """Return the distance of each point to the shape's edge, negative inside; x and y relative to its centre."""
    if shape == "circle":
        return np.hypot(x, y) - radius
    corners = SHAPE_TO_CORNERS[shape] * radius
    nearest = np.full(x.shape, np.inf)
    inside = np.zeros(x.shape, dtype=bool)
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        edge = end - start
        along = np.clip(((x - start[0]) * edge[0] + (y - start[1]) * edge[1]) / (edge @ edge), 0, 1)
        nearest = np.minimum(nearest, np.hypot(x - start[0] - along * edge[0], y - start[1] - along * edge[1]))
        if edge[1] != 0:
            crosses = (start[1] > y) != (end[1] > y)
            inside ^= crosses & (x < start[0] + (y - start[1]) * edge[0] / edge[1])
    return np.where(inside, -nearest, nearest)


@dataclass(frozen=True)
class Background:
    """A gradient between two light colours plus a faint low-frequency wave."""

    rgb_from: tuple[float, float, float]
    rgb_to: tuple[float, float, float]
    angle: float
    wave: tuple[float, float, float]  # cycles along x, cycles along y, phase

    def render(self, size: int) -> NDArray[np.float64]:
        """Return Float[size, size, 3] in 0..255."""
        x, y = _pixel_centres(size)
        along = 0.5 + ((x - 0.5) * np.cos(self.angle) + (y - 0.5) * np.sin(self.angle)) / np.sqrt(2)
        start, end = np.array(self.rgb_from), np.array(self.rgb_to)
        wave = 3.0 * np.sin(2 * np.pi * (self.wave[0] * x + self.wave[1] * y) + self.wave[2])
        image: NDArray[np.float64] = start + along[..., None] * (end - start) + wave[..., None]
        return image


def draw_background(rng: np.random.Generator) -> Background:
    """Draw a background at random."""
    tints = rng.uniform(-14, 14, size=(2, 3))
    lights = rng.uniform(196, 238, size=2)
    colours = np.clip(lights[:, None] + tints, 0, 250)
    cycles = rng.uniform(-1.2, 1.2, size=2)
    return Background(
        (float(colours[0, 0]), float(colours[0, 1]), float(colours[0, 2])),
        (float(colours[1, 0]), float(colours[1, 1]), float(colours[1, 2])),
        float(rng.uniform(0, 2 * np.pi)),
        (float(cycles[0]), float(cycles[1]), float(rng.uniform(0, 2 * np.pi))),
    )


def _pixel_centres(size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    centres = (np.arange(size) + 0.5) / size
    y, x = np.meshgrid(centres, centres, indexing="ij")
    return x, y


def _paint(image: NDArray[np.float64], item: PlannedObject) -> None:
    """Paint one object over `image`, Float[size, size, 3], in place."""
    size = image.shape[0]
    reach = item.radius * 1.25 + 2 / size
    columns, rows = (
        slice(max(0, int((middle - reach) * size)), min(size, int((middle + reach) * size) + 1))
        for middle in item.centre
    )
    x, y = _pixel_centres(size)
    distance = signed_distance(
        item.shape, x[rows, columns] - item.centre[0], y[rows, columns] - item.centre[1], item.radius
    )
    for rgb, edge in ((OUTLINE_RGB, 0.0), (COLOUR_TO_RGB[item.colour], -OUTLINE_WIDTH)):
        coverage = np.clip(0.5 - (distance - edge) * size, 0, 1)[..., None]
        image[rows, columns] += coverage * (np.array(rgb) - image[rows, columns])


def render(plan: Plan, background: Background, size: int) -> NDArray[np.uint8]:
    """Render a scene; the same plan and background look the same at every size.

    Returns:
        UInt8[size, size, 3], RGB.
    """
    image = background.render(size)
    for item in plan.objects:
        _paint(image, item)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
