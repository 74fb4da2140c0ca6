"""The log of a run: a line of JSON for every so many steps."""

import json
import os
from pathlib import Path

from mulo_sd.engines.files.whole_files import write_text_whole
from mulo_sd.reference.train.checkpoints import RunError

Row = dict[str, float]


class RunLog:
    """A file of rows, which a killed run may leave with half a line, and with rows of steps to be taken again."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, row: Row, seconds: float) -> None:
        """Append a row, with the seconds that the run has taken so far."""
        with self.path.open("a", encoding="utf-8") as log:
            log.write(json.dumps(row | {"seconds": round(seconds, 1)}) + "\n")

    def forget_after(self, step: int) -> None:
        """Drop what it holds of steps that are about to be taken again.

        Raises:
            RunError: it is no log.
        """
        if not os.path.lexists(self.path):
            return
        try:
            text = self.path.read_text(encoding="utf-8")
            # A line that was cut off ends in no brace.
            kept = [line for line in text.split("\n") if line.endswith("}") and json.loads(line)["step"] <= step]
        except (OSError, ValueError, KeyError, TypeError):
            raise RunError(
                f"{self.path}: expected the log of a run, got something else; move it away, or give another --out"
            ) from None
        whole = "".join(f"{line}\n" for line in kept)
        if whole != text:
            write_text_whole(self.path, whole)
