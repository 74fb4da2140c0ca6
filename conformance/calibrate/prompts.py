"""The prompts to calibrate on: a text file, one a line."""

from collections.abc import Callable
from pathlib import Path

from engines.prompts import PromptError, parse

MAX_BYTES = 2**20
MAX_PROMPTS = 10_000


class PromptFileError(ValueError):
    """A prompt file that cannot be used; its message is one line for the user."""


def read_prompts(path: Path, check: Callable[[str], object] = parse) -> list[str]:
    """Return the prompts of a UTF-8 file, one a line; empty lines are skipped.

    Args:
        path: The file.
        check: Raises PromptError for what is not understood; by default what is not the demo's grammar.

    Raises:
        PromptFileError: no such file, too large, not UTF-8, no prompt in it, or one that is not understood.
    """
    if not path.is_file():
        raise PromptFileError(f"{path}: expected a text file with a prompt a line, found none")
    if path.stat().st_size > MAX_BYTES:
        raise PromptFileError(f"{path}: expected at most {MAX_BYTES} bytes, got {path.stat().st_size}")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise PromptFileError(f"{path}: expected UTF-8 text, got other bytes") from None
    prompts = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            check(line)
        except PromptError as error:
            raise PromptFileError(f"{path}, line {number}: {error}") from None
        prompts.append(line.strip())
    if not 1 <= len(prompts) <= MAX_PROMPTS:
        raise PromptFileError(f"{path}: expected 1 to {MAX_PROMPTS} prompts, got {len(prompts)}")
    return prompts
