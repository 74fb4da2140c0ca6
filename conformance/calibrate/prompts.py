"""The prompts to calibrate on: a text file, one a line."""

from collections.abc import Callable
from pathlib import Path

from mulo_sd.engines.commands.layouts import LayoutError, PromptsError, faults_of_prompts, read_tasks
from mulo_sd.engines.prompts import parse

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
    try:
        if path.is_file() and path.stat().st_size > MAX_BYTES:
            raise PromptFileError(f"{path}: expected at most {MAX_BYTES} bytes, got {path.stat().st_size}")
        tasks = read_tasks("plain", path)
    except LayoutError as error:
        raise PromptFileError(str(error)) from None
    except OSError as error:
        raise PromptFileError(f"{path}: cannot read it: {error.strerror or error}") from None
    faults = faults_of_prompts(tasks, check)
    if faults:
        raise PromptFileError(str(PromptsError(faults)))
    if len(tasks) > MAX_PROMPTS:
        raise PromptFileError(f"{path}: expected 1 to {MAX_PROMPTS} prompts, got {len(tasks)}")
    return [task.prompt for task in tasks]
