"""What a world is: tasks, held-out prompts with their real scenes, an evaluator, and the models trained on it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.prompts import Plan

if TYPE_CHECKING:  # without it a command may ask which world a bundle draws, and load no torch
    from mulo_sd.reference.models import Models

SEEDS_A_TASK = 1000


class WorldError(ValueError):
    """A world that cannot be measured here; its message is one line for the user."""


@dataclass(frozen=True)
class HeldOut:
    """A prompt that no model was trained on, with the real scene behind it.

    Its condition is the bundle's to make, from text, seed and plan.

    Attributes:
        task: The prompt's task.
        task_number: Of the world's tasks.
        index: Of the task's held-out scenes, 0..999.
        text: The prompt.
        plan: Where its objects are, in worlds whose prompts come with plans.
        render: Draws the real scene at a size, UInt8[size, size, 3].
    """

    task: str
    task_number: int
    index: int
    text: str
    plan: Plan | None
    render: Callable[[int], NDArray[np.uint8]]

    @property
    def seed(self) -> int:
        """Of every sample: no other prompt of the world has it."""
        return SEEDS_A_TASK * self.task_number + self.index


class World(ABC):
    """A world.

    Attributes:
        name: As --world says it.
        title: As headings say it.
        family: Of the bundles that draw it.
        tasks: GenEval's, as far as they fit.
        example: A prompt.
    """

    name: str
    title: str
    family: str
    tasks: tuple[str, ...]
    example: str

    @abstractmethod
    def held_out_prompt(self, task_number: int, index: int) -> HeldOut:
        """Return held-out prompt `index` of a task; always the same one."""

    @abstractmethod
    def check(self, prompt: str) -> None:
        """Check that a prompt is one that `holds` can judge.

        Raises:
            PromptError: it is not.
        """

    @abstractmethod
    def holds(self, prompt: str, image: NDArray[np.uint8]) -> bool:
        """Whether an image, UInt8[S, S, 3], shows what a prompt asks for.

        Raises:
            PromptError: the prompt is none of this world.
            WorldError: the image has a size that the evaluator does not read.
        """

    @abstractmethod
    def models(self) -> "Models":
        """Load the shipped models.

        Raises:
            WorldError: they are not there.
        """

    def held_out(self, per_task: int, first: int = 0) -> Iterator[HeldOut]:
        """Yield `per_task` held-out prompts of every task, task by task, from number `first` on."""
        for task_number in range(len(self.tasks)):
            for index in range(first, first + per_task):
                yield self.held_out_prompt(task_number, index)
