"""The demo's data: an endless numbered stream of prompts, plans and scenes, split into training and held-out."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.prompts.grammar import Prompt, PromptObject
from mulo_sd.engines.prompts.plan import Plan
from mulo_sd.engines.prompts.planner import make_plan
from mulo_sd.engines.prompts.vocabulary import COLOURS, RELATIONS, SHAPES, TASKS, Colour, Shape, Task
from mulo_sd.reference.demo.scene import Background, draw_background, render

# Of the tasks with many wordings, one in eight is never trained on.
HELD_OUT_TASKS = ("two_object", "position", "color_attr")
HELD_OUT_SHARE = 8
TRAINING_SPLIT, HELD_OUT_SPLIT = 0, 1


def is_held_out(prompt: Prompt) -> bool:
    """Whether the wording of `prompt` is kept out of training; the small tasks are held out by plan only."""
    return prompt.task in HELD_OUT_TASKS and zlib.crc32(prompt.text.encode()) % HELD_OUT_SHARE == 0


def draw_prompt(task: Task, rng: np.random.Generator) -> Prompt:
    """Draw a prompt of `task` at random."""

    def shape() -> Shape:
        return SHAPES[int(rng.integers(len(SHAPES)))]

    def colour() -> Colour:
        return COLOURS[int(rng.integers(len(COLOURS)))]

    def maybe_colour() -> Colour | None:
        return colour() if rng.random() < 0.5 else None

    if task == "single_object":
        return Prompt((PromptObject(shape()),))
    if task == "colors":
        return Prompt((PromptObject(shape(), colour()),))
    if task == "counting":
        return Prompt((PromptObject(shape(), maybe_colour()),) * int(rng.integers(2, 5)))
    if task == "position":
        relation = RELATIONS[int(rng.integers(len(RELATIONS)))]
        return Prompt((PromptObject(shape(), maybe_colour()), PromptObject(shape(), maybe_colour())), relation)
    while True:
        coloured = task == "color_attr"
        pair = [PromptObject(shape(), colour() if coloured else None) for _ in range(2)]
        prompt = Prompt((pair[0], pair[1]))
        if prompt.task == task:
            return prompt


@dataclass(frozen=True)
class Scene:
    """One numbered scene of a split."""

    prompt: Prompt
    plan: Plan
    background: Background

    def render(self, size: int) -> NDArray[np.uint8]:
        """Return UInt8[size, size, 3]."""
        return render(self.plan, self.background, size)


def scene(index: int, split: int = TRAINING_SPLIT, task: Task | None = None) -> Scene:
    """Return scene number `index` of a split; always the same one, so that training resumes where it stopped."""
    rng = np.random.default_rng([0x53434E, split, index])
    task = task or TASKS[int(rng.integers(len(TASKS)))]
    prompt = draw_prompt(task, rng)
    wanted = split == HELD_OUT_SPLIT
    while task in HELD_OUT_TASKS and is_held_out(prompt) != wanted:
        prompt = draw_prompt(task, rng)
    return Scene(prompt, make_plan(prompt, int(rng.integers(2**31))), draw_background(rng))


def held_out_scenes(per_task: int, first: int = 0) -> Iterator[Scene]:
    """Yield `per_task` held-out scenes of every task, task by task."""
    for task in TASKS:
        for index in range(first, first + per_task):
            yield scene(index, HELD_OUT_SPLIT, task)
