"""Draw every prompt of a file into a folder; an image that exists already is not drawn again."""

import contextlib
from collections.abc import Callable, Iterator

from mulo_sd.engines.commands.drawing import Drawing, Failure
from mulo_sd.engines.commands.image_claims import opened_claims
from mulo_sd.engines.commands.run_folder import in_use
from mulo_sd.engines.commands.run_images import RunImages


class Run(RunImages):
    """A folder that is filled with images, by this process and by others that do the same at the same time."""

    deaths = 0  # of others that draw for this process: there are none
    _drawing: Drawing | None = None
    _there_before = 0

    @contextlib.contextmanager
    def at_work(self, batch: int) -> Iterator[Drawing]:
        """Yield what draws images of the run, `batch` at a time."""
        with (
            in_use(self.folder),
            opened_claims(self.folder) as claims,
            self.pipeline.session(batch) as session,
        ):
            yield Drawing(self, claims, session, batch)

    def draw(self, progress: Callable[[int], None] = lambda done: None, batch: int = 1) -> int:
        """Draw the missing images of the share, `batch` at a time; return how many this process has drawn.

        Images that other processes draw just now are waited for, and drawn here where those end without them. An image
        that cannot be drawn is left out, and `failures` says why.

        Args:
            progress: Called with the number of images that exist.
            batch: Images drawn at once.

        Raises:
            LayoutError: a file cannot be written, or many images in a row cannot be drawn; what is drawn stays.
        """
        with self.at_work(batch) as drawing:
            missing = list(self.missing())
            self._drawing, self._there_before = drawing, self.total - len(missing)
            self.write_texts()
            drawing.draw(missing, lambda: progress(self.done))
            progress(self.done)
        return drawing.drawn

    @property
    def failures(self) -> list[Failure]:
        """The images that `draw` could not draw."""
        return self._drawing.failures if self._drawing else []

    @property
    def done(self) -> int:
        """How many images of the share exist, as far as `draw` has counted."""
        return self._there_before + (self._drawing.drawn + self._drawing.found if self._drawing else 0)

    @property
    def done_when_interrupted(self) -> int:
        """How many images exist after `draw` was interrupted, with the one that was being written if it is whole."""
        writing = self._drawing.writing if self._drawing else None
        return self.done + (writing is not None and self.is_drawn(writing))
