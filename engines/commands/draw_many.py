"""Draw every prompt of a file into a folder; an image that exists already is not drawn again."""

import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from mulo_sd.engines.bundle.manifest import MANIFEST_NAME
from mulo_sd.engines.commands.image_record import Record, models_hash, read_record, save_with
from mulo_sd.engines.commands.layouts import LayoutError, PromptsError, Task, faults_of_prompts
from mulo_sd.engines.commands.run_folder import begin, in_use
from mulo_sd.engines.files.paths import expanded
from mulo_sd.engines.files.whole_files import check_writable, make_folder, write_whole
from mulo_sd.engines.service.pipeline import Pipeline
from mulo_sd.engines.service.session import Request, Session
from mulo_sd.engines.settings import Settings

# When so many images fail one after the other, the prompts are not the reason, and the run ends.
MAX_FAILURES = 10


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


@dataclass(frozen=True)
class Failure:
    """An image that could not be drawn.

    Attributes:
        name: The image's file name.
        where: The prompt's file and line.
        reason: One line.
    """

    name: str
    where: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.where}: {self.reason}"


class ImageNumber(NamedTuple):
    """An image of a run: the number of its task, and its number among the task's images."""

    task: int
    sample: int


class Run:
    """A folder that is filled with images; run.json and every image record what they were drawn from."""

    def __init__(
        self, pipeline: Pipeline, settings: Settings, seed: int, tasks: list[Task], folder: Path | str
    ) -> None:
        """Make the folder, or continue with one that was begun.

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
        self.failures: list[Failure] = []
        self.done = 0  # images that exist, as far as `draw` has counted
        self._writing: ImageNumber | None = None
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
        """How many images the run has."""
        return sum(len(task.images) for task in self.tasks)

    def _name(self, image: ImageNumber) -> str:
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
        path = self.folder / self._name(image)
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
        """Return every image that is not drawn yet, was drawn from something else, or is not whole.

        Raises:
            LayoutError: an image's file is not one that a run has drawn.
        """
        for number, task in enumerate(self.tasks):
            for sample in range(len(task.images)):
                image = ImageNumber(number, sample)
                if not self.is_drawn(image):
                    yield image

    def draw(self, progress: Callable[[int], None] = lambda done: None, batch: int = 1) -> int:
        """Draw the missing images, `batch` at a time; return how many were drawn.

        An image that cannot be drawn is left out, and `failures` says why.

        Args:
            progress: Called with the number of images that exist.
            batch: Images drawn at once.

        Raises:
            LayoutError: a file cannot be written, or many images in a row cannot be drawn; what is drawn stays.
        """
        self.failures, drawn, failed_in_a_row = [], 0, 0
        with in_use(self.folder):
            missing = list(self.missing())
            self.done = self.total - len(missing)
            for image in missing[:1]:
                self._check_writable(self._name(image))
            for task in self.tasks:
                for name, text in task.texts.items():
                    self._write_text(name, text)
            with self.pipeline.session(batch) as session:
                for image, requests in self._submitted(session, missing, 2 * batch):
                    progress(self.done)
                    try:
                        tiles = [request.result().image for request in requests]
                    except (ValueError, RuntimeError) as error:
                        self._note(image, error)
                        failed_in_a_row += 1
                        if failed_in_a_row == MAX_FAILURES:
                            raise LayoutError(f"{MAX_FAILURES} images in a row failed: {self.failures[-1]}") from None
                        continue
                    self._writing = image
                    self._write(self._name(image), partial(save_with, tiled(tiles), self.record(image)))
                    drawn, failed_in_a_row, self.done, self._writing = drawn + 1, 0, self.done + 1, None
            progress(self.done)
        return drawn

    @property
    def done_when_interrupted(self) -> int:
        """How many images exist after `draw` was interrupted, with the one that was being written if it is whole."""
        return self.done + (self._writing is not None and self.is_drawn(self._writing))

    def _note(self, image: ImageNumber, error: Exception) -> None:
        reason = " ".join(str(error).split()) or type(error).__name__
        self.failures.append(Failure(self._name(image), self.tasks[image.task].where, reason))

    def _submitted(
        self, session: Session, missing: list[ImageNumber], ahead: int
    ) -> Iterator[tuple[ImageNumber, list[Request]]]:
        """Return every missing image with the requests of its tiles, in order; `ahead` tiles are submitted early."""
        waiting: deque[tuple[ImageNumber, list[Request]]] = deque()
        for image in missing:
            prompt, seeds = self.tasks[image.task].prompt, self.seeds[image.task][image.sample]
            waiting.append((image, [session.submit(prompt, seed, **dict(self.settings)) for seed in seeds]))
            if sum(len(requests) for _, requests in waiting) > ahead:
                yield waiting.popleft()
        yield from waiting

    def _check_writable(self, name: str) -> None:
        path = self.folder / name
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
