"""A run of images on a cluster: Ray Data gives small blocks of it to actors, which draw into one shared folder.

The folder is the checkpoint. An image and its record exist together or not at all, and actors claim images as all
processes of a run do; so a block that is drawn again, after whatever died, draws what is missing of it and no more.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.data import ActorPoolStrategy
from ray.exceptions import RayError

from mulo_sd.engines.backends import BackendError
from mulo_sd.engines.cluster.batch_actor import ATTEMPTS, DEATHS, FAILURE, FAULT, IMAGE, BatchActor, Recipe
from mulo_sd.engines.cluster.batch_options import ActorOptions, BatchOptions, images_a_block
from mulo_sd.engines.cluster.join import joined_cluster
from mulo_sd.engines.cluster.quiet import ray_log_in_files
from mulo_sd.engines.cluster.room import check_room
from mulo_sd.engines.cluster.terminated import terminated_as_interrupted
from mulo_sd.engines.commands.drawing import Failure
from mulo_sd.engines.commands.layouts import LayoutError, Task
from mulo_sd.engines.commands.run_folder import in_use
from mulo_sd.engines.commands.run_images import ImageNumber, RunImages
from mulo_sd.engines.commands.shares import WHOLE, Share
from mulo_sd.engines.files.folder_beside import folder_beside
from mulo_sd.engines.files.whole_files import PARTIAL
from mulo_sd.engines.service.pipeline import Pipeline
from mulo_sd.engines.settings import Settings

GO_ON = "what is drawn stays, run the same command to go on"
_ACTORS_END_WITHIN = 10.0  # seconds


class ClusterRun(RunImages):
    """A run whose images are drawn by the actors of a cluster."""

    def __init__(
        self,
        pipeline: Pipeline,
        settings: Settings,
        seed: int,
        tasks: list[Task],
        folder: Path | str,
        share: Share = WHOLE,
        *,
        options: BatchOptions,
        actor: ActorOptions,
    ) -> None:
        """Make the folder, or continue with one that was begun.

        Args:
            pipeline: Checks the prompts here, and draws nothing: any backend does.
            settings: As for `RunImages`, like all up to the share.
            seed: Of the first image.
            tasks: The whole run's.
            folder: Where to, on a file system that all machines share.
            share: The images that count here.
            options: How the run is spread.
            actor: What its actors draw with.

        Raises:
            Exception: as `RunImages`.
        """
        super().__init__(pipeline, settings, seed, tasks, folder, share)
        self._seed, self._options, self._actor = seed, options, actor
        self.failures: list[Failure] = []
        self.deaths = 0  # of actors that drew; others have gone on where they stopped
        self._left: set[ImageNumber] = set()

    @property
    def done(self) -> int:
        """How many images of the share exist, as far as the actors have told."""
        return self.total - len(self._left)

    @property
    def done_when_interrupted(self) -> int:
        """How many exist after `draw` was interrupted."""
        return self.done + sum(self.is_drawn(image) for image in self._left)

    def draw(self, progress: Callable[[int], None] = lambda done: None, batch: int = 1) -> int:
        """Draw the missing images of the share; return how many came while this ran.

        An image that cannot be drawn is left out, and `failures` says why.

        Args:
            progress: Called with the number of images that exist.
            batch: Images that each actor draws at once.

        Raises:
            LayoutError: a file cannot be written, a machine does not see the folder, many images in a row cannot be
                drawn, or actors die again and again; what is drawn stays.
            SettingsError: there is no such cluster, or it has no room.
            BackendError: Ray gives up.
        """
        self.failures, self.deaths = [], 0
        # Ray ends its actors without waiting for them, and one that is killed cannot clean up.
        with (
            in_use(self.folder, others_end_within=_ACTORS_END_WITHIN),
            folder_beside(self.folder, PARTIAL) as sign,
        ):
            (sign / ATTEMPTS).touch()
            missing = list(self.missing())
            self._left = set(missing)
            progress(self.done)
            if not missing:
                return 0
            self.write_texts()
            with (
                ray_log_in_files(),
                joined_cluster(self._options.ray_address, GO_ON, log_to_driver=False),
                terminated_as_interrupted(),
            ):
                try:
                    for row in self._rows(missing, self._recipe(sign.name, batch)):
                        self._note(row)
                        progress(self.done)
                except RayError as error:
                    raise BackendError(_reason(error)) from None
        return len(missing) - len(self._left)

    def _note(self, row: dict[str, Any]) -> None:
        """Take a row that came back.

        Raises:
            LayoutError: its actor cannot go on.
        """
        if row[FAULT]:
            raise LayoutError(row[FAULT])
        self.deaths += int(row[DEATHS])
        image = ImageNumber(*row[IMAGE].tolist())
        if row[FAILURE]:
            self.failures.append(Failure(self.name(image), self.tasks[image.task].where, row[FAILURE]))
        else:
            self._left.discard(image)

    def _recipe(self, sign: str, batch: int) -> Recipe:
        return Recipe(
            bundle=self.pipeline.bundle.path.resolve(),
            actor=replace(self._actor, threads=self._actor.threads or self._options.threads_each),
            settings=self.settings,
            seed=self._seed,
            tasks=self.tasks,
            folder=self.folder.resolve(),
            sign=sign,
            batch=batch,
        )

    def _rows(self, missing: list[ImageNumber], recipe: Recipe) -> Iterator[dict[str, Any]]:
        """Give the missing images to actors, and return a row of each as it comes back."""
        resources = ray.cluster_resources()
        actors = self._options.actors_in(resources)
        if self._options.ray_address is None:  # another cluster may grow
            check_room("actors", actors, self._options.cpus_each, "CPU", resources)
            check_room("actors", actors, self._options.gpus_each, "GPU", resources)
        size = images_a_block(len(missing), actors, recipe.batch)
        blocks = [missing[start : start + size] for start in range(0, len(missing), size)]
        actors = min(actors, len(blocks))
        rows = ray.data.from_numpy([np.array(block, np.int64) for block in blocks]).map_batches(
            BatchActor,
            batch_size=None,  # a block is a task of its own
            compute=ActorPoolStrategy(min_size=1, max_size=actors, initial_size=actors),
            fn_constructor_args=(recipe,),
            num_cpus=self._options.cpus_each,
            num_gpus=self._options.gpus_each,
        )
        yield from rows.iter_rows()


def _reason(error: RayError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"ray: {(lines or [type(error).__name__])[0]:.300}; {GO_ON}"
