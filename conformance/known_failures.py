"""Known failures of an implementation: kept by its owner, each with a reason; one that passes is a failure."""

import re
from dataclasses import dataclass
from pathlib import Path

from mulo_sd.engines.files.text_files import TextFileError, lines_of, read_text

MAX_BYTES = 2**20


class KnownFailuresError(ValueError):
    """A file of known failures that cannot be used; its message is one line."""


@dataclass(frozen=True)
class KnownFailure:
    """A test, or all tests of a rule, and why it fails."""

    name: str
    reason: str

    def covers(self, test: str, rules: tuple[str, ...]) -> bool:
        """Return whether a test is meant, by its name or by a rule that it speaks for alone."""
        return self.name in (test, test.partition("[")[0]) or rules == (self.name,)


def read_known_failures(path: Path) -> list[KnownFailure]:
    """Return the entries of a file: lines of `name: reason`; empty lines and those that start with # say nothing.

    Raises:
        KnownFailuresError: a line without a reason, or a file that cannot be read.
    """
    try:
        lines = lines_of(read_text(path, MAX_BYTES, "known failures"))
    except TextFileError as error:
        raise KnownFailuresError(str(error)) from None
    failures = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = re.fullmatch(r"\s*(\S.*?)\s*:\s+(\S.*?)\s*", line)
        if match is None:
            raise KnownFailuresError(f"{path}, line {number}: expected `test or rule: reason`, got {line!r:.80}")
        failures.append(KnownFailure(*match.groups()))
    return failures
