"""Draw images of a run that are missing, while other processes may draw others of the same run."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from mulo_sd.engines.commands.image_claims import Claims
from mulo_sd.engines.commands.layouts import LayoutError
from mulo_sd.engines.commands.run_images import ImageNumber, RunImages
from mulo_sd.engines.commands.shared_work import SharedWork
from mulo_sd.engines.service.session import Request, Session

# When so many images fail one after the other, the prompts are not the reason, and the run ends.
MAX_FAILURES = 10
# How often a process looks whether what others draw is there, or was left by one that died.
SECONDS_BETWEEN_LOOKS = 0.25


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


class Drawing:
    """Draws images of a run; what it has drawn, found and failed is counted over all calls."""

    def __init__(self, images: RunImages, claims: Claims, session: Session, batch: int) -> None:
        """Join what it takes.

        Args:
            images: The run's.
            claims: Of the run's folder.
            session: Draws, and is the caller's to close.
            batch: Images drawn at once.
        """
        self._images, self._claims, self._session, self._batch = images, claims, session, batch
        self.failures: list[Failure] = []
        self.drawn = self.found = 0  # by this process, and by others meanwhile
        self.writing: ImageNumber | None = None
        self._failed_in_a_row = 0

    def draw(self, missing: Iterable[ImageNumber], progress: Callable[[], None] = lambda: None) -> None:
        """See to it that images are drawn, by this process or by another one; what fails is noted.

        Args:
            missing: Images of the run.
            progress: Called before each image, and now and then while others are waited for.

        Raises:
            LayoutError: a file cannot be written, or many images in a row cannot be drawn; what is drawn stays.
        """
        work = SharedWork(self._claims, missing, self._images.name, self._is_drawn)
        for image, requests in self._submitted(work, progress):
            progress()
            try:
                tiles = [request.result().image for request in requests]
            except (ValueError, RuntimeError) as error:
                self._note(image, error)
            else:
                self.writing = image
                self._images.save(image, tiles)
                self.drawn, self._failed_in_a_row, self.writing = self.drawn + 1, 0, None
            work.give_back(image)

    def _is_drawn(self, image: ImageNumber) -> bool:
        """Return whether a claimed image is there; one that is not can be written."""
        if not self._images.is_drawn(image):
            self._images.check_writable(image)
            # On a network the first answer may be one from memory. What was just written there asks for a new one.
            if not self._images.is_drawn(image):
                return False
        self.found += 1
        return True

    def _submitted(
        self, work: SharedWork[ImageNumber], progress: Callable[[], None]
    ) -> Iterator[tuple[ImageNumber, list[Request]]]:
        """Return every image that is left to this process, with the requests of its tiles, in order.

        `2 * batch` tiles are submitted early. While others have claimed what is left, it looks again and again.
        """
        waiting: deque[tuple[ImageNumber, list[Request]]] = deque()
        while True:
            image = work.take()
            if image is not None:
                waiting.append((image, self._requests(image)))
                if sum(len(requests) for _, requests in waiting) > 2 * self._batch:
                    yield waiting.popleft()
            elif waiting:
                yield waiting.popleft()
            elif work:
                progress()
                time.sleep(SECONDS_BETWEEN_LOOKS)
            else:
                return

    def _requests(self, image: ImageNumber) -> list[Request]:
        prompt, seeds = self._images.tasks[image.task].prompt, self._images.seeds[image.task][image.sample]
        return [self._session.submit(prompt, seed, **dict(self._images.settings)) for seed in seeds]

    def _note(self, image: ImageNumber, error: Exception) -> None:
        reason = " ".join(str(error).split()) or type(error).__name__
        self.failures.append(Failure(self._images.name(image), self._images.tasks[image.task].where, reason))
        self._failed_in_a_row += 1
        if self._failed_in_a_row == MAX_FAILURES:
            raise LayoutError(f"{MAX_FAILURES} images in a row failed: {self.failures[-1]}")
