"""An actor of a run of images: a process of the cluster that draws what it is given into the run's folder."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from mulo_sd.engines.backends import BackendError
from mulo_sd.engines.bundle import BundleError
from mulo_sd.engines.cluster.batch_options import ActorOptions
from mulo_sd.engines.commands.draw_many import Run
from mulo_sd.engines.commands.layouts import LayoutError, Task
from mulo_sd.engines.commands.run_images import ImageNumber
from mulo_sd.engines.condition import ConditionError
from mulo_sd.engines.numbers import SettingsError
from mulo_sd.engines.service.load import load
from mulo_sd.engines.settings import Settings

# In it, a line for every time that an actor began a block.
ATTEMPTS = "attempts"
# How often actors may die of one block: what kills them all is no accident.
MAX_DEATHS = 8
# The columns of what comes back: an image, why it failed, why its actor cannot go on, and in a block's first row how
# many actors died of the block. Images come in the first column, which Ray names, as Int[images, 2].
IMAGE, FAILURE, FAULT, DEATHS = "data", "failure", "fault", "deaths"


@dataclass(frozen=True)
class Recipe:
    """All that an actor needs to draw, on whichever machine it is.

    Attributes:
        bundle: The bundle's folder.
        actor: What to draw with; threads is a number.
        settings: Of every decode.
        seed: Of the first image.
        tasks: Of the whole run.
        folder: The run's.
        sign: A folder in it that the driver has just made, with the file ATTEMPTS; who does not see it sees another
            folder.
        batch: Images drawn at once.
    """

    bundle: Path
    actor: ActorOptions
    settings: Settings
    seed: int
    tasks: list[Task]
    folder: Path
    sign: str
    batch: int


class BatchActor:
    """Holds a pipeline and a session over all blocks that it is given."""

    def __init__(self, recipe: Recipe) -> None:
        """Load the bundle; what is wrong is said in the rows that come back.

        Args:
            recipe: What to draw, and where.
        """
        self._opened, self._attempts = ExitStack(), recipe.folder / recipe.sign / ATTEMPTS
        self._fault = ""
        try:
            self._open(recipe)
        except (BundleError, BackendError, ConditionError, SettingsError, LayoutError) as error:
            self._fault = _here(error)

    def _open(self, recipe: Recipe) -> None:
        """Open the bundle and the folder.

        Raises:
            LayoutError: this machine does not see the run's folder, or other models than the driver.
            Exception: as `load`.
        """
        if not self._attempts.is_file():
            raise LayoutError(f"{recipe.folder}: expected the run's folder on every machine; share it, or give another")
        pipeline = load(recipe.bundle, recipe.actor.backend, recipe.actor.threads, recipe.actor.text_model)
        self._run = Run(pipeline, recipe.settings, recipe.seed, recipe.tasks, recipe.folder)
        self._drawing = self._opened.enter_context(self._run.at_work(recipe.batch))

    def __call__(self, block: dict[str, NDArray[np.int64]]) -> dict[str, NDArray[Any]]:
        """Draw a block of images, and return it with what went wrong."""
        numbers = [ImageNumber(*image) for image in block[IMAGE].tolist()]
        deaths = 0
        if not self._fault:
            self._drawing.failures.clear()
            try:
                deaths = self._deaths_before(numbers)
                self._drawing.draw(numbers)
            except (LayoutError, BackendError) as error:
                self._fault = _here(error)
        reasons = {failure.name: failure.reason for failure in self._drawing.failures} if not self._fault else {}
        return {
            IMAGE: block[IMAGE],
            FAILURE: np.array([reasons.get(self._run.name(image), "") if reasons else "" for image in numbers], object),
            FAULT: np.array([self._fault] * len(numbers), object),
            DEATHS: np.array([deaths, *[0] * (len(numbers) - 1)]),
        }

    def _deaths_before(self, block: list[ImageNumber]) -> int:
        """Note that a block is begun, and return how often one was before.

        Raises:
            BackendError: too many actors have died of it.
            LayoutError: the note cannot be written.
        """
        line = f"{block[0].task} {block[0].sample}\n"
        try:
            with self._attempts.open("a+", encoding="ascii") as file:
                file.write(line)
                file.seek(0)
                deaths = file.readlines().count(line) - 1
        except OSError as error:
            raise LayoutError(f"{self._attempts}: cannot write it: {error.strerror or error}") from None
        if deaths >= MAX_DEATHS:
            first, last = self._run.name(block[0]), self._run.name(block[-1])
            raise BackendError(
                f"{first} to {last}: expected an actor that draws them, got {deaths} that died; "
                "look for what kills them, such as too little memory"
            )
        return deaths


def _here(error: Exception) -> str:
    """Return an error in one line, with the machine that it came from."""
    return f"{' '.join(str(error).split())} (on {ray.util.get_node_ip_address()})"
