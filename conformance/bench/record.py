"""The JSON record of a benchmark, written anew after each result: a run that is cut short leaves what it knew."""

import json
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mulo_sd.conformance.bench.errors import BenchError
from mulo_sd.engines.files.paths import first_existing
from mulo_sd.engines.files.whole_files import make_folder, write_bytes_whole

RECORD_NAME = "bench.json"
_PACKAGES = ("mulo-sd", "numpy", "onnxruntime", "torch", "triton")


def versions() -> dict[str, str]:
    """Return the versions of what was measured, as far as installed."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _check_others(folder: Path, figures: Sequence[str]) -> None:
    record = folder / RECORD_NAME
    if record.is_file():
        try:
            content = json.loads(record.read_text(encoding="utf-8"))
            if isinstance(content, dict) and {"schema", "arguments", "versions"} <= content.keys():
                return
        except (OSError, ValueError, RecursionError):
            pass
    there = first_existing(folder, (RECORD_NAME, *figures))
    if there is not None:
        raise BenchError(
            f"--out: expected no files but a benchmark's, found {there}; move it away, or give another folder"
        )


class Record:
    """What is known so far.

    Attributes:
        content: Plain lists and numbers, by section.
    """

    def __init__(self, folder: Path, arguments: Sequence[str], figures: Sequence[str] = ()) -> None:
        """Start an empty record; nothing is written before there is a result.

        Args:
            folder: Of the results; made when it is needed.
            arguments: Of the command.
            figures: Names of the pictures that will be written beside the record.

        Raises:
            BenchError: the folder holds files of these names that are no benchmark's.
        """
        _check_others(folder, figures)
        self.folder = folder
        self.content: dict[str, Any] = {"schema": 1, "arguments": list(arguments), "versions": versions()}
        self.content["platform"] = {"system": platform.system(), "machine": platform.machine(), "python": sys.version}

    def set(self, section: str, value: Any) -> None:
        """Set a section, and write the record.

        Raises:
            OSError: it cannot be written.
        """
        self.content[section] = value
        self.write()

    def append(self, value: Any, *path: str) -> None:
        """Append to the list at a path of sections, making what is missing, and write the record.

        Raises:
            OSError: it cannot be written.
        """
        place: Any = self.content
        for name in path[:-1]:
            place = place.setdefault(name, {})
        place.setdefault(path[-1], []).append(value)
        self.write()

    def write(self) -> None:
        """Write the record whole."""
        make_folder(self.folder)
        text = json.dumps(self.content, indent=1, allow_nan=False) + "\n"
        write_bytes_whole(self.folder / RECORD_NAME, text.encode())

    def write_figure(self, name: str, content: bytes) -> Path:
        """Write a figure beside the record and return its path."""
        make_folder(self.folder)
        write_bytes_whole(self.folder / name, content)
        return self.folder / name
