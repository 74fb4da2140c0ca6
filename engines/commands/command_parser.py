"""How every command reads its options: what it is called, what it is for, and one line where they cannot be used."""

import argparse
import re
import sys
from typing import Any, NoReturn

from mulo_sd.engines.commands.command_line import UNUSABLE


class _OneLine(argparse.ArgumentParser):
    """Tells what is wrong without the usage of all options, which would push it out of sight."""

    def error(self, message: str) -> NoReturn:
        hint = "" if "expected" in message else "; --help lists the options"  # else it says by itself what to give
        self.exit(UNUSABLE, f"{self.prog}: error: {message}{hint}\n")


def program(module: str) -> str:
    """Return the program's name for its usage: `mulo-sd build` where that started it, else `python -m export.build`."""
    return sys.argv[0] if sys.argv[0].startswith("mulo-sd ") else f"python -m {module}"


def command_parser(module: str, description: str | None, **options: Any) -> argparse.ArgumentParser:
    """Make the parser of a command.

    Args:
        module: As `python -m` names it.
        description: The module's docstring; the command line that stands before its colon is left out.
        options: Further ones of `argparse.ArgumentParser`.

    Returns:
        A parser that ends the process with status 2 and one line where arguments cannot be used.
    """
    purpose = re.sub(r"\Apython -m [^:]*: ", "", description or "")
    return _OneLine(prog=program(module), description=purpose, **options)
