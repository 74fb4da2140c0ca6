"""Where a training keeps what, below its --out."""

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mulo_sd.engines.files.whole_files import PARTIAL, make_folder
from mulo_sd.reference.train.checkpoints import RunError
from mulo_sd.reference.train.folder.cache import FOLDER as PICTURES
from mulo_sd.reference.train.folder.open_folder import LOCK as PICTURES_LOCK
from mulo_sd.reference.train.lock import alone
from mulo_sd.reference.train.recipe import MAX_DRAFTERS, known_models
from mulo_sd.reference.train.run import CHECKPOINT, SUFFIX
from mulo_sd.reference.trained.description import CAPTIONS_FILE, MODELS_FILE, PICTURE_FILE

LOCK = ".lock"
LEFT_BY_A_KILL = re.compile(rf"{re.escape(PARTIAL)}\w+")


@dataclass(frozen=True)
class Place:
    """The folders and files of a training.

    Attributes:
        out: The folder that the user gave.
    """

    out: Path

    @property
    def models(self) -> Path:
        """Weights, a card beside each, and what makes them a folder of trained models."""
        return self.out / "models"

    @property
    def bundle(self) -> Path:
        return self.out / "bundle"

    @property
    def steps(self) -> Path:
        """How many steps the time that was allowed is enough for, once that is known."""
        return self.out / "steps.json"

    @property
    def sheet(self) -> Path:
        """What the models draw in the end, as a picture."""
        return self.out / "drawn.png"

    @property
    def card(self) -> Path:
        return self.out / "card.md"

    def run(self, name: str) -> Path:
        """Return the folder of a model's checkpoint, log, curves and samples."""
        return self.out / f"{name}{SUFFIX}"

    def checkpoint(self, name: str) -> Path:
        """Return where a model's run goes on."""
        return self.run(name) / CHECKPOINT

    def weights(self, name: str) -> Path:
        return self.models / f"{name}.safetensors"

    def facts(self, name: str) -> Path:
        """Return the card of one model."""
        return self.models / f"{name}.json"

    def check_new(self, name: str) -> None:
        """Check that a run which begins writes over nobody's weights or card.

        Raises:
            RunError: something is there already.
        """
        _check_none((self.weights(name), self.facts(name)), "before a run's first step, found one")

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Make the folders, and keep other trainings out of them until the end of the block.

        Raises:
            RunError: another process trains there, or something else has the name of what would be written.
            OSError: they cannot be made.
        """
        is_new = not os.path.lexists(self.out)
        make_folder(self.out)
        self._check_own()
        with alone(self.out / LOCK, f"{self.out}: expected no other process that trains here"):
            make_folder(self.models)
            self._clean()
            try:
                yield
            except Exception:
                self._leave(is_new)
                raise

    def _check_own(self) -> None:
        """Check that a training which begins writes over nobody's files.

        Raises:
            RunError: something has the name of what it would write.
        """
        names = known_models(MAX_DRAFTERS)
        if os.path.lexists(self.out / LOCK) or any(self.checkpoint(name).exists() for name in names):
            return
        described = (self.models / file for file in (MODELS_FILE, CAPTIONS_FILE, PICTURE_FILE))
        written = (self.card, self.sheet, self.steps, self.out / PICTURES_LOCK, *map(self.run, names), *described)
        _check_none(written, "where no training has begun")

    def _leave(self, is_new: bool) -> None:
        """Remove what a command made that was refused before anything was trained: empty folders and locks.

        Args:
            is_new: The command made `out`, too.
        """
        if any(map(os.path.lexists, (self.steps, self.card, *self.out.glob(f"*{SUFFIX}")))):
            return
        with suppress(OSError):  # where something is in a folder
            self.models.rmdir()
            for name in (PICTURES_LOCK, LOCK):
                (self.out / name).unlink(missing_ok=True)
            if is_new:
                self.out.rmdir()

    def _clean(self) -> None:
        """Remove what writers of whole files left when they were killed."""
        pictures = [self.out / PICTURES] if (self.out / PICTURES).is_dir() else []
        for folder in (self.out, self.models, *pictures, *self.out.glob(f"*{SUFFIX}")):
            for path in folder.iterdir():
                if LEFT_BY_A_KILL.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)


def _check_none(paths: Iterable[Path], when: str) -> None:
    """Check that nothing has these names.

    Raises:
        RunError: something has.
    """
    for path in paths:
        if os.path.lexists(path):
            raise RunError(f"{path}: expected none {when}; move it away, or give another --out")
