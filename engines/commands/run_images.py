"""The images of a run in its folder: which there are, what each is drawn from, and which are missing."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from mulo_sd.engines.bundle.manifest import MANIFEST_NAME
from mulo_sd.engines.commands.image_record import Record, models_hash, read_record, save_with
from mulo_sd.engines.commands.layouts import LayoutError, PromptsError, Task, faults_of_prompts
from mulo_sd.engines.commands.run_folder import begin
from mulo_sd.engines.commands.shares import WHOLE, Share
from mulo_sd.engines.files.paths import expanded
from mulo_sd.engines.files.whole_files import check_writable, make_folder, write_whole
from mulo_sd.engines.service.pipeline import Pipeline
from mulo_sd.engines.settings import Settings


def seeds_of(tasks: list[Task], seed: int) -> list[list[list[int]]]:
    """Return consecutive seeds from `seed` on, one for every tile of every image of every task."""
    numbers = iter(range(seed, seed + sum(len(task.images) * task.tiles for task in tasks)))
    return [[[next(numbers) % 2**64 for _ in range(task.tiles)] for _ in task.images] for task in tasks]


def tiled(images: list[Image.Image]) -> Image.Image:
    """Return one image, or four in two rows of two: top left, top right, bottom left, bottom right."""
    if len(images) == 1:
        return images[0]
    width, height = images[0].size
    whole = Image.new("RGB", (2 * width, 2 * height))
    for number, image in enumerate(images):
        whole.paste(image, (number % 2 * width, number // 2 * height))
    return whole


class ImageNumber(NamedTuple):
    """An image of a run: the number of its task, and its number among the task's images."""

    task: int
    sample: int


class RunImages:
    """A folder that is filled with images; run.json and every image record what they were drawn from."""

    def __init__(
        self,
        pipeline: Pipeline,
        settings: Settings,
        seed: int,
        tasks: list[Task],
        folder: Path | str,
        share: Share = WHOLE,
    ) -> None:
        """Make the folder, or continue with one that was begun.

        Args:
            pipeline: Of the bundle to draw with.
            settings: Of every decode.
            seed: Of the first image; the next images take the next seeds.
            tasks: The whole run's, whatever the share: names, numbers and seeds follow from all of them.
            folder: Where to.
            share: The images that count here.

        Raises:
            PromptsError: some prompts cannot be drawn, as far as that is found cheaply; nothing is written.
            ConditionError: no prompt at all can be drawn, such as without a text model.
            LayoutError: the folder was begun with other models, settings or seed, or holds something else.
        """
        faults = faults_of_prompts(tasks, pipeline.check_prompt)
        if faults:
            raise PromptsError(faults)
        self.pipeline, self.settings, self.tasks, self.folder = pipeline, settings, tasks, expanded(folder)
        self.seeds = seeds_of(tasks, seed)
        every = [ImageNumber(number, place) for number, task in enumerate(tasks) for place in range(len(task.images))]
        self.images = [image for number, image in enumerate(every) if share.holds(number)]
        self._settings, self._models = settings.model_dump(mode="json"), models_hash(pipeline.bundle.manifest)
        description: dict[str, Any] = {"models": self._models, "settings": self._settings, "seed": seed}
        self._is_old = begin(self.folder, description, self._description_of_first_version(seed))

    def _description_of_first_version(self, seed: int) -> dict[str, Any]:
        prompts = json.dumps([[task.prompt, task.images, task.tiles] for task in self.tasks]).encode()
        try:
            manifest = (self.pipeline.bundle.path / MANIFEST_NAME).read_bytes()
        except OSError:  # a bundle in memory alone
            manifest = b""
        return {
            "manifest_sha256": sha256(manifest).hexdigest(),
            "settings": self._settings,
            "seed": seed,
            "prompts": len(self.tasks),
            "prompts_sha256": sha256(prompts).hexdigest(),
        }

    @property
    def total(self) -> int:
        """How many images the share has."""
        return len(self.images)

    def name(self, image: ImageNumber) -> str:
        return self.tasks[image.task].images[image.sample]

    def record(self, image: ImageNumber) -> Record:
        """Return what an image is drawn from."""
        seeds = self.seeds[image.task][image.sample]
        return Record(self.tasks[image.task].prompt, tuple(seeds), self._settings, self._models)

    def is_drawn(self, image: ImageNumber) -> bool:
        """Return whether an image's file exists, is whole, and has the record that the run would write.

        Raises:
            LayoutError: the file is not one that a run has drawn.
        """
        path = self.folder / self.name(image)
        try:
            file = read_record(path)
        except OSError as error:
            raise LayoutError(f"{path}: cannot read it: {error.strerror or error}") from None
        if file.record is None and self._is_old and file.state == "whole":
            return True
        if not file.could_be_ours and not self._is_old:
            raise LayoutError(f"{path}: expected an image of this run or none, got another file; move it away")
        return file.state == "whole" and file.record == self.record(image).to_json()

    def missing(self) -> Iterator[ImageNumber]:
        """Return every image of the share that is not drawn yet, was drawn from something else, or is not whole.

        Raises:
            LayoutError: an image's file is not one that a run has drawn.
        """
        return (image for image in self.images if not self.is_drawn(image))

    def save(self, image: ImageNumber, tiles: list[Image.Image]) -> None:
        """Write an image with its record.

        Raises:
            LayoutError: it cannot be written.
        """
        self._write(self.name(image), partial(save_with, tiled(tiles), self.record(image)))

    def write_texts(self) -> None:
        """Write the texts beside the images of the whole run, where they are not there yet.

        Raises:
            LayoutError: one cannot be written.
        """
        for task in self.tasks:
            for name, text in task.texts.items():
                self._write_text(name, text)

    def check_writable(self, image: ImageNumber) -> None:
        """Check before the decode that an image can be written, and make its folder.

        Raises:
            LayoutError: it cannot.
        """
        path = self.folder / self.name(image)
        try:
            make_folder(path.parent)
            check_writable(path)
        except OSError as error:
            raise LayoutError(f"{path}: cannot write it: {error.strerror or error}") from None

    def _write_text(self, name: str, text: str) -> None:
        path = self.folder / name
        try:
            if path.is_file() and path.read_bytes() == text.encode():
                return
        except OSError:
            pass  # writing the file raises the error
        self._write(name, lambda temporary: temporary.write_bytes(text.encode()))

    def _write(self, name: str, write: Callable[[Path], Any]) -> None:
        path = self.folder / name
        try:
            make_folder(path.parent)
            write_whole(path, write)
        except OSError as error:
            raise LayoutError(f"{path}: cannot write it: {error.strerror or error}") from None
