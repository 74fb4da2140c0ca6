"""The file of kernels that TensorRT for RTX compiled for this GPU, kept on disk from one start to the next.

The runtime validates the file's content; what it refuses is compiled again. No error of this module reaches a decode.
"""

import contextlib
import re
from pathlib import Path

from mulo_sd.engines.files.whole_files import write_bytes_whole

MAX_BYTES = 256 * 2**20  # of one file
MAX_FILES = 16  # in one folder: the oldest are removed
# The folder is the user's choice, and may hold other files: only files with a kernel file's name are removed.
OWN_NAME = re.compile(r"[A-Za-z0-9._]+-[A-Za-z0-9._]+-[0-9a-f]{16}\.bin")


class KernelFile:
    """The file of one GPU, one version of TensorRT and one bundle."""

    def __init__(self, folder: Path | None, gpu: str, version: str, bundle_hash: str) -> None:
        """Name the file; nothing is read or written yet.

        Args:
            folder: None keeps nothing.
            gpu: The GPU's name.
            version: TensorRT's.
            bundle_hash: Of the bundle's manifest, which names the hash of every plan; its first 16 digits.
        """
        name = "-".join(re.sub(r"[^A-Za-z0-9.]+", "_", part)[:64] for part in (gpu, version, bundle_hash))
        self.path = None if folder is None else folder / "kernels" / f"{name}.bin"

    def read(self) -> bytes | None:
        """Return the file's content, or None where it does not exist or cannot be used."""
        if self.path is None:
            return None
        try:
            if not self.path.is_file() or not 0 < self.path.stat().st_size <= MAX_BYTES:
                return None
            return self.path.read_bytes()
        except OSError:
            return None

    def write(self, content: bytes) -> bool:
        """Write the file as a whole; return whether it was written."""
        if self.path is None or not 0 < len(content) <= MAX_BYTES:
            return False
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes_whole(self.path, content)
        except OSError:
            return False
        with contextlib.suppress(OSError):  # another process may clear the folder at the same time
            files = [path for path in self.path.parent.iterdir() if OWN_NAME.fullmatch(path.name)]
            files.sort(key=lambda path: path.stat().st_mtime, reverse=True)
            for old in files[MAX_FILES:]:
                if old != self.path:
                    old.unlink(missing_ok=True)
        return True
