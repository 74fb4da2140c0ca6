"""Draw every prompt of a file into a folder; what is there already is not drawn again."""

import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from PIL import Image

from mulo_sd.engines.bundle.manifest import MANIFEST_NAME
from mulo_sd.engines.commands.layouts import LayoutError, PromptsError, Task, faults_of_prompts
from mulo_sd.engines.commands.records import Record, models_hash, read_record, save_with
from mulo_sd.engines.commands.run_folder import begin, in_use
from mulo_sd.engines.files.paths import expanded
from mulo_sd.engines.files.whole_files import check_writable, make_folder, write_whole
from mulo_sd.engines.service.pipeline import Pipeline
from mulo_sd.engines.service.session import Request, Session
from mulo_sd.engines.settings import Settings

# So many images that fail one after the other are no fault of their prompts; the run ends.
MAX_FAILURES = 10


def seeds_of(tasks: list[Task], seed: int) -> list[list[list[int]]]:
    """Return the seed of every tile of every file of every task: one after the other from `seed` on."""
    following = iter(range(seed, seed + sum(len(task.images) * task.tiles for task in tasks)))
    return [[[next(following) % 2**64 for _ in range(task.tiles)] for _ in task.images] for task in tasks]


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
        name: Of its file.
        where: Its prompt's file and line.
        why: In one line.
    """

    name: str
    where: str
    why: str

    def __str__(self) -> str:
        return f"{self.name}: {self.where}: {self.why}"


class Run:
    """A folder that is being filled; what it is filled with stands in its run.json, and in every image."""

    def __init__(
        self, pipeline: Pipeline, settings: Settings, seed: int, tasks: list[Task], folder: Path | str
    ) -> None:
        """Make the folder, or go on with one.

        Raises:
            PromptsError: prompts that cannot be drawn, all that can be found cheaply; nothing is made.
            ConditionError: no prompt at all can be drawn, such as without a text model.
            LayoutError: the folder was begun with other models, settings or seed, or holds something else.
        """
        faults = faults_of_prompts(tasks, pipeline.check_prompt)
        if faults:
            raise PromptsError(faults)
        self.pipeline, self.settings, self.tasks, self.folder = pipeline, settings, tasks, expanded(folder)
        self.seeds = seeds_of(tasks, seed)
        self.failures: list[Failure] = []
        self.done = 0  # images that are there, as far as `draw` has counted
        self._writing: tuple[int, int] | None = None
        self._settings, self._models = settings.model_dump(mode="json"), models_hash(pipeline.bundle.manifest)
        told: dict[str, Any] = {"models": self._models, "settings": self._settings, "seed": seed}
        self._is_old = begin(self.folder, told, self._told_by_first_version(seed))

    def _told_by_first_version(self, seed: int) -> dict[str, Any]:
        prompts = json.dumps([[task.prompt, task.images, task.tiles] for task in self.tasks]).encode()
        try:
            manifest = (self.pipeline.bundle.path / MANIFEST_NAME).read_bytes()
        except OSError:  # a bundle that lies in memory alone
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
        """Files of images, all together."""
        return sum(len(task.images) for task in self.tasks)

    def record(self, number: int, place: int) -> Record:
        """Return what the image of a task and of a place in it is drawn from."""
        return Record(self.tasks[number].prompt, tuple(self.seeds[number][place]), self._settings, self._models)

    def is_there(self, number: int, place: int) -> bool:
        """Return whether an image is there, whole, and drawn from what the run would draw it from.

        Raises:
            LayoutError: something is there that no run has drawn.
        """
        path = self.folder / self.tasks[number].images[place]
        try:
            found = read_record(path)
        except OSError as error:
            raise LayoutError(f"{path}: cannot read it: {error.strerror or error}") from None
        if found.record is None and self._is_old and found.state == "whole":
            return True
        if not found.could_be_ours and not self._is_old:
            raise LayoutError(f"{path}: expected an image of this run or none, got another file; move it away")
        return found.state == "whole" and found.record == self.record(number, place).to_json()

    def missing(self) -> Iterator[tuple[int, int]]:
        """Return the task and the place in it of every image that is not there, or is another or not whole.

        Raises:
            LayoutError: something is in an image's place that no run has drawn.
        """
        for number, task in enumerate(self.tasks):
            for place in range(len(task.images)):
                if not self.is_there(number, place):
                    yield number, place

    def draw(self, progress: Callable[[int], None] = lambda done: None, batch: int = 1) -> int:
        """Draw what is missing, `batch` images at a time; return how many files that were.

        What cannot be drawn is left out, and stands in `failures` afterwards.

        Raises:
            LayoutError: a file cannot be written, or many images in a row cannot be drawn; what is drawn stays.
        """
        self.failures, drawn, in_a_row = [], 0, 0
        with in_use(self.folder):
            missing = list(self.missing())
            self.done = self.total - len(missing)
            for number, place in missing[:1]:
                self._check_writable(self.tasks[number].images[place])
            for task in self.tasks:
                for name, text in task.texts.items():
                    self._write_text(name, text)
            with self.pipeline.session(batch) as session:
                for number, place, requests in self._asked(session, missing, 2 * batch):
                    progress(self.done)
                    try:
                        tiles = [request.result().image for request in requests]
                    except (ValueError, RuntimeError) as error:
                        self._note(number, place, error)
                        in_a_row += 1
                        if in_a_row == MAX_FAILURES:
                            raise LayoutError(f"{in_a_row} images in a row failed: {self.failures[-1]}") from None
                        continue
                    write = partial(save_with, tiled(tiles), self.record(number, place))
                    self._writing = number, place
                    self._write(self.tasks[number].images[place], write)
                    drawn, in_a_row, self.done, self._writing = drawn + 1, 0, self.done + 1, None
            progress(self.done)
        return drawn

    @property
    def there(self) -> int:
        """How many images are there after `draw` was interrupted, the one included that was then being written."""
        return self.done + (self._writing is not None and self.is_there(*self._writing))

    def _note(self, number: int, place: int, error: Exception) -> None:
        task = self.tasks[number]
        why = " ".join(str(error).split()) or type(error).__name__
        self.failures.append(Failure(task.images[place], task.where, why))

    def _asked(
        self, session: Session, missing: list[tuple[int, int]], ahead: int
    ) -> Iterator[tuple[int, int, list[Request]]]:
        """Return every missing file and the requests of its tiles, in order, having asked for `ahead` images more."""
        waiting: deque[tuple[int, int, list[Request]]] = deque()
        for number, place in missing:
            prompt, seeds = self.tasks[number].prompt, self.seeds[number][place]
            asked = [session.submit(prompt, seed, **dict(self.settings)) for seed in seeds]
            waiting.append((number, place, asked))
            if sum(len(requests) for _, _, requests in waiting) > ahead:
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
            pass  # writing it says what is wrong
        self._write(name, lambda beside: beside.write_bytes(text.encode()))

    def _write(self, name: str, write: Callable[[Path], Any]) -> None:
        path = self.folder / name
        try:
            make_folder(path.parent)
            write_whole(path, write)
        except OSError as error:
            raise LayoutError(f"{path}: cannot write it: {error.strerror or error}") from None
