"""The pictograms' endless numbered stream of scenes, split into training and held-out."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mulo_sd.reference.pictograms.captions import COUNTS, RELATIONS, TASKS, Relation, Task, Wish, is_plural
from mulo_sd.reference.pictograms.grounds import GROUND_COLOURS, Ground, draw_ground
from mulo_sd.reference.pictograms.sheet import pictograms, sprites

PIXELS = 128
# Pixels of a pictogram's box. Boxes stand on multiples of STEP, a cell of the coarsest grid, so that a pictogram has
# one grid of tokens on each ground, which small models can learn. Rows are fixed: no model doubts which comes next.
BOX, STEP = 64, 16
NEAR, MIDDLE, FAR = 0, 32, 64  # upper or left edges
HELD_OUT_SHARE = 8  # one combination in so many is never trained on
TRAINING_SPLIT, HELD_OUT_SPLIT = 0, 1


@dataclass(frozen=True)
class Placed:
    """A pictogram in a picture: its box's left and top edge, in pixels of 128."""

    pictogram: int
    left: int
    top: int


@dataclass(frozen=True)
class Scene:
    """One numbered scene of a split."""

    wish: Wish
    placed: tuple[Placed, ...]
    ground: Ground

    @property
    def caption(self) -> str:
        return self.wish.caption

    def render(self, size: int) -> NDArray[np.uint8]:
        """Return UInt8[size, size, 3]: drawn at 128 pixels, then averaged.

        Args:
            size: A divisor of 128.
        """
        image = self.ground.render(PIXELS)
        for item in self.placed:
            sprite = sprites(BOX)[item.pictogram]
            part = image[item.top : item.top + BOX, item.left : item.left + BOX]
            part *= 1 - sprite[..., 3:]
            part += sprite[..., :3]
        ratio = PIXELS // size
        small: NDArray[np.float32] = image.reshape(size, ratio, size, ratio, 3).mean(axis=(1, 3))
        return np.clip(np.rint(small), 0, 255).astype(np.uint8)


def is_held_out(wish: Wish) -> bool:
    """Whether a combination is kept out of training: a pair, in whatever order, a count, or a ground's colour.

    A single pictogram is no combination: it is held out by place and ground alone.
    """
    names = sorted(pictograms()[index].name for index in wish.objects)
    if wish.task == "single_object":
        return False
    return zlib.crc32(" ".join([*names, wish.ground or ""]).encode()) % HELD_OUT_SHARE == 0


def draw_wish(task: Task, rng: np.random.Generator) -> Wish:
    """Draw what a caption of `task` asks for at random."""

    def one() -> int:
        return int(rng.integers(len(pictograms())))

    if task == "single_object":
        return Wish((one(),))
    if task == "colors":
        return Wish((one(),), ground=GROUND_COLOURS[int(rng.integers(len(GROUND_COLOURS)))])
    if task == "counting":
        while True:
            counted = one()
            if not is_plural(pictograms()[counted].name):
                return Wish((counted,) * int(rng.integers(2, 2 + len(COUNTS))))
    first, second = rng.choice(len(pictograms()), size=2, replace=False)
    relation = RELATIONS[int(rng.integers(len(RELATIONS)))] if task == "position" else None
    return Wish((int(first), int(second)), relation)


def place(wish: Wish, rng: np.random.Generator) -> tuple[Placed, ...]:
    """Place the pictograms of a wish at random: in rows that are fixed, and in columns that are not.

    What a caption says nothing of stands in reading order, what is named first before the other: no model has to look
    for what it drew already to know what is missing. How many there are decides how they stand.
    """

    def column() -> int:
        return MIDDLE + STEP * int(rng.integers(-1, 2))

    if len(wish.objects) == 1:
        return (Placed(wish.objects[0], column(), MIDDLE),)
    if len(wish.objects) == 3:
        corners = [(column(), NEAR), (NEAR, FAR), (FAR, FAR)]
    else:
        in_order: tuple[Relation, ...] = ("left of",) if wish.task == "counting" else ("left of", "above")
        relation = wish.relation or in_order[int(rng.integers(len(in_order)))]
        if relation in ("left of", "right of"):
            corners = [(NEAR, MIDDLE), (FAR, MIDDLE)]
        else:
            left = column()
            corners = [(left, NEAR), (left, FAR)]
        if relation in ("right of", "below"):
            corners.reverse()
    return tuple(Placed(index, left, top) for index, (left, top) in zip(wish.objects, corners, strict=True))


def scene(index: int, split: int = TRAINING_SPLIT, task: Task | None = None) -> Scene:
    """Return scene number `index` of a split; always the same one, so that training resumes where it stopped.

    A number has other pictograms in every task that is asked for.
    """
    rng = np.random.default_rng([0x50494354, split, index, *([] if task is None else [1 + TASKS.index(task)])])
    task = task or TASKS[int(rng.integers(len(TASKS)))]
    wanted = split == HELD_OUT_SPLIT and task != "single_object"
    wish = draw_wish(task, rng)
    while is_held_out(wish) != wanted:
        wish = draw_wish(task, rng)
    return Scene(wish, place(wish, rng), draw_ground(rng, wish.ground))


def held_out_scenes(per_task: int, first: int = 0) -> Iterator[Scene]:
    """Yield `per_task` held-out scenes of every task, task by task."""
    for task in TASKS:
        for index in range(first, first + per_task):
            yield scene(index, HELD_OUT_SPLIT, task)
