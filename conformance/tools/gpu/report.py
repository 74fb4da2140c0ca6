"""What a part found: lines now, a file at once; and what all parts are told."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mulo_sd.engines.backends.base import one_line


@dataclass(frozen=True)
class Asked:
    """What is measured.

    Attributes:
        bundles: Folders of bundles with plans, made wherever plans build; none: the minimal preset's, built here.
        prompts: How many each mode draws.
        device: "cuda", or "cpu" for a rehearsal.
        seconds: After which the laws of one backend are stopped.
    """

    bundles: tuple[Path, ...] = ()
    prompts: int = 4
    device: str = "cuda"
    seconds: float = 540.0


class Report:
    """One part's results.

    Attributes:
        failures: What went wrong, each in a line.
    """

    def __init__(self, out: Path, part: str) -> None:
        self.path, self.lines = out / f"{part}.json", list[dict[str, Any]]()
        self.failures: list[str] = []

    def add(self, **values: Any) -> None:
        """Tell one result."""
        self.lines.append(values)
        print("  ".join(f"{name} {value}" for name, value in values.items()), flush=True)
        self.path.write_text(json.dumps(self.lines, indent=1) + "\n", encoding="utf-8")

    @contextmanager
    def step(self, name: str, **values: Any) -> Iterator[None]:
        """Do something that may fail; its words are told, and the next step is done all the same."""
        try:
            yield
        except Exception as error:  # of whatever kind a runtime or driver raises
            words = f"{type(error).__name__}: {one_line(error)}"
            self.failures.append(f"{name}: {words}")
            self.add(step=name, **values, error=words)
