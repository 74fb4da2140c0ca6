"""Draw every prompt of a file into a folder; what is there already is not drawn again."""

import json
from collections import deque
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from PIL import Image

from engines.bundle.manifest import MANIFEST_NAME
from engines.layouts import LayoutError, Task
from engines.pipeline import Pipeline
from engines.session import Request, Session
from engines.settings import Settings
from engines.whole_files import write_whole

RUN_NAME = "run.json"


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


class Run:
    """A folder that is being filled; what it is filled with stands in its run.json."""

    def __init__(self, pipeline: Pipeline, settings: Settings, seed: int, tasks: list[Task], folder: Path) -> None:
        """Make the folder, or go on with one.

        Raises:
            LayoutError: the folder was begun with other models, settings, seed or prompts, or holds something else.
        """
        self.pipeline, self.settings, self.tasks, self.folder = pipeline, settings, tasks, folder
        self.seeds = seeds_of(tasks, seed)
        prompts = json.dumps([[task.prompt, task.images, task.tiles] for task in tasks]).encode()
        told: dict[str, Any] = {
            "manifest_sha256": sha256((pipeline.bundle.path / MANIFEST_NAME).read_bytes()).hexdigest(),
            "settings": settings.model_dump(mode="json"),
            "seed": seed,
            "prompts": len(tasks),
            "prompts_sha256": sha256(prompts).hexdigest(),
        }
        beside = folder / RUN_NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if beside.is_file():
                try:
                    known = json.loads(beside.read_text(encoding="utf-8"))
                except (ValueError, RecursionError):
                    known = {}
                other = [
                    name for name, value in told.items() if not isinstance(known, dict) or known.get(name) != value
                ]
                if other:
                    raise LayoutError(f"{folder}: it was begun with another {other[0]}; give another folder")
            elif any(folder.iterdir()):
                raise LayoutError(f"{folder}: expected an empty folder or one begun before, got something else")
            else:
                write_whole(beside, lambda path: path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8"))
        except OSError as error:
            raise LayoutError(f"{folder}: cannot write into it: {error.strerror or error}") from None

    @property
    def total(self) -> int:
        """Files of images, all together."""
        return sum(len(task.images) for task in self.tasks)

    def missing(self) -> Iterator[tuple[int, int]]:
        """Return the task and the place in it of every file of images that is not there."""
        for number, task in enumerate(self.tasks):
            for place, name in enumerate(task.images):
                if not (self.folder / name).is_file():
                    yield number, place

    def draw(self, progress: Callable[[int], None] = lambda done: None, batch: int = 1) -> int:
        """Draw what is missing, `batch` images at a time; return how many files that were.

        Raises:
            LayoutError: a prompt is not understood, or a file cannot be written; what is drawn stays.
        """
        drawn, there = 0, self.total - sum(1 for _ in self.missing())
        for task in self.tasks:
            for name, text in task.texts.items():
                self._write(name, lambda path, text=text: path.write_text(text, encoding="utf-8"))  # type: ignore[misc]
        with self.pipeline.session(batch) as session:
            for number, place, requests in self._asked(session, 2 * batch):
                progress(there + drawn)
                try:
                    tiles = [request.result().image for request in requests]
                except ValueError as error:
                    raise LayoutError(f"prompt {number + 1} of {len(self.tasks)}: {error}") from None
                self._write(self.tasks[number].images[place], tiled(tiles).save)
                drawn += 1
        progress(there + drawn)
        return drawn

    def _asked(self, session: Session, ahead: int) -> Iterator[tuple[int, int, list[Request]]]:
        """Return every missing file and the requests of its tiles, in order, having asked for `ahead` images more."""
        waiting: deque[tuple[int, int, list[Request]]] = deque()
        for number, place in list(self.missing()):
            prompt, seeds = self.tasks[number].prompt, self.seeds[number][place]
            asked = [session.submit(prompt, seed, **dict(self.settings)) for seed in seeds]
            waiting.append((number, place, asked))
            if sum(len(requests) for _, _, requests in waiting) > ahead:
                yield waiting.popleft()
        yield from waiting

    def _write(self, name: str, write: Callable[[Path], Any]) -> None:
        path = self.folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, write)
        except OSError as error:
            raise LayoutError(f"{path}: cannot write it: {error.strerror or error}") from None
