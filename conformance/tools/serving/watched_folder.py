"""Watch a folder that processes fill with images: how often has each been written?"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

SECONDS_BETWEEN_LOOKS = 0.02


class WatchedFolder:
    """Looks at the images many times a second; one that is written again is another file, with another time."""

    def __init__(self, folder: Path) -> None:
        """Begin with a folder, which may not be there yet; `with` watches it."""
        self.folder = folder
        self._seen: dict[str, set[tuple[int, int]]] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._look()

    @property
    def count(self) -> int:
        """How many images have been seen."""
        return len(self._seen)

    @property
    def written_twice(self) -> list[str]:
        """The images that were written more than once."""
        return sorted(name for name, files in self._seen.items() if len(files) > 1)

    def wait_for(self, count: int, seconds: float = 300) -> bool:
        """Wait until so many images have been seen; return whether they have."""
        ends_at = time.monotonic() + seconds
        while self.count < count and time.monotonic() < ends_at:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        return self.count >= count

    def _watch(self) -> None:
        while not self._ended.wait(SECONDS_BETWEEN_LOOKS):
            self._look()

    def _look(self) -> None:
        for path in self._images():
            with suppress(OSError):  # replaced meanwhile
                status = path.stat()
                name = path.relative_to(self.folder).as_posix()
                self._seen.setdefault(name, set()).add((status.st_ino, status.st_mtime_ns))

    def _images(self) -> Iterator[Path]:
        for folder, folders, names in os.walk(self.folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            yield from (Path(folder, name) for name in names if name.endswith(".png"))
