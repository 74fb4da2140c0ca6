"""What pictograms stand on: a pale colour that brightens along a line and from a point."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Pale, so that every pictogram stands out from every ground.
GROUND_TO_RGB: dict[str, tuple[int, int, int]] = {
    "grey": (200, 202, 206),
    "pink": (244, 196, 208),
    "orange": (246, 210, 170),
    "yellow": (244, 236, 176),
    "green": (190, 228, 188),
    "cyan": (180, 230, 232),
    "blue": (182, 202, 240),
    "purple": (212, 192, 236),
}
GROUND_COLOURS = tuple(GROUND_TO_RGB)
JITTER = 1.0  # of each channel
SLOPE, BULGE = 3.0, 2.0  # levels of brightness from the middle to an edge


@dataclass(frozen=True)
class Ground:
    """Brightness is a polynomial of second degree in x and y, which the evaluator fits."""

    colour: str
    rgb: tuple[float, float, float]
    angle: float
    slope: float
    bulge: float
    centre: tuple[float, float]

    def render(self, size: int) -> NDArray[np.float32]:
        """Return Float32[size, size, 3] in 0..255."""
        middle = (np.arange(size) + 0.5) / size * 2 - 1
        y, x = np.meshgrid(middle, middle, indexing="ij")
        light = self.slope * (x * np.cos(self.angle) + y * np.sin(self.angle))
        light = light - self.bulge * ((x - self.centre[0]) ** 2 + (y - self.centre[1]) ** 2) / 2
        lit: NDArray[np.float32] = (np.array(self.rgb) + light[..., None]).astype(np.float32)
        return lit


def draw_ground(rng: np.random.Generator, colour: str | None = None) -> Ground:
    """Draw a ground at random, of a colour if one is given."""
    colour = colour or GROUND_COLOURS[int(rng.integers(len(GROUND_COLOURS)))]
    red, green, blue = np.array(GROUND_TO_RGB[colour]) + rng.uniform(-JITTER, JITTER, size=3)
    return Ground(
        colour,
        (float(red), float(green), float(blue)),
        float(rng.uniform(0, 2 * np.pi)),
        float(rng.uniform(0, SLOPE)),
        float(rng.uniform(0, BULGE)),
        (float(rng.uniform(-1, 1)), float(rng.uniform(-1, 1))),
    )
