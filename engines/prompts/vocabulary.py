"""The words of the demo's prompts, and the bins in which a scene plan places objects."""

from typing import Literal, get_args

Shape = Literal["circle", "square", "triangle", "star", "diamond", "cross"]
Colour = Literal["red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink"]
Relation = Literal["left of", "right of", "above", "below"]
Task = Literal["single_object", "two_object", "counting", "colors", "position", "color_attr"]

SHAPES: tuple[Shape, ...] = get_args(Shape)
COLOURS: tuple[Colour, ...] = get_args(Colour)
RELATIONS: tuple[Relation, ...] = get_args(Relation)
TASKS: tuple[Task, ...] = get_args(Task)

COUNTS: dict[str, int] = {"two": 2, "three": 3, "four": 4}
COUNT_TO_WORD: dict[int, str] = {count: word for word, count in COUNTS.items()}
PLURALS: dict[str, Shape] = {
    "circles": "circle",
    "squares": "square",
    "triangles": "triangle",
    "stars": "star",
    "diamonds": "diamond",
    "crosses": "cross",
}
SHAPE_TO_PLURAL: dict[Shape, str] = {shape: plural for plural, shape in PLURALS.items()}

MAX_OBJECTS = 4
# A centre lies in one of POSITION_BINS equal bins along each axis; a size is an index into RADII,
# the radius of the circle that an object roughly fills, as a fraction of the image's side.
POSITION_BINS = 16
RADII: tuple[float, ...] = (0.12, 0.145, 0.17, 0.20, 0.23, 0.26)


def centre_from_bin(position_bin: int) -> float:
    """Return the centre of a position bin as a fraction of the image's side, in (0, 1)."""
    return (position_bin + 0.5) / POSITION_BINS
