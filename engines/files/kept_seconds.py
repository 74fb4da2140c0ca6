"""Measured seconds, kept in a small file from one start to the next.

Whatever is wrong with the file, it is as good as none: no error of this module reaches a decode.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mulo_sd.engines.files.text_files import TextFileError, read_text
from mulo_sd.engines.files.whole_files import write_text_whole

NAME = "pass_seconds.json"
MAX_BYTES = 2**17
MAX_MEASUREMENTS = 64  # in one file: the oldest go

Seconds = Annotated[float, Field(gt=0, le=1e5, allow_inf_nan=False)]
Measurement = Annotated[dict[Annotated[int, Field(ge=1, le=2**20)], Seconds], Field(min_length=1, max_length=32)]
Key = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Content(BaseModel):
    """What the file holds."""

    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    measurements: Annotated[dict[Key, Measurement], Field(max_length=MAX_MEASUREMENTS)] = {}


class KeptSeconds:
    """Seconds by a number, several measurements in one file, each under the hash of all that it depends on."""

    def __init__(self, folder: Path | None) -> None:
        """Name the file; nothing is read or written yet.

        Args:
            folder: None keeps nothing.
        """
        self.path = None if folder is None else folder / NAME

    def _content(self) -> _Content:
        if self.path is None:
            return _Content()
        try:
            return _Content.model_validate_json(read_text(self.path, MAX_BYTES, "seconds"))
        except (TextFileError, ValidationError, ValueError, RecursionError):
            return _Content()

    def read(self, key: str) -> dict[int, float] | None:
        """Return a measurement, or None where there is none that can be used."""
        return self._content().measurements.get(key)

    def write(self, key: str, seconds: dict[int, float]) -> bool:
        """Add a measurement and write the file as a whole; return whether it was written."""
        if self.path is None:
            return False
        measurements = {name: value for name, value in self._content().measurements.items() if name != key}
        kept = dict([*measurements.items(), (key, seconds)][-MAX_MEASUREMENTS:])
        try:
            text = _Content.model_validate({"measurements": kept}).model_dump_json(indent=1) + "\n"
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_text_whole(self.path, text)
        except (OSError, ValueError):  # a folder that may not be written; seconds that are none
            return False
        return True
