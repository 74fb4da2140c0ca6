"""mulo-sd conformance: run the suite from anywhere, apart from the caller's own pytest configuration."""

import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from mulo_sd.engines.commands.command_line import command
from mulo_sd.engines.commands.command_parser import program

PACKAGE = Path(__file__).resolve().parent
# What a caller's environment could slip into the run.
INHERITED = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")
# Options, of this suite and of pytest, whose value is the next argument.
TAKE_VALUES = (
    *("--bundle", "--backend", "--models", "--require", "--known-failures", "--near-ties", "--report"),
    *("-k", "-m", "-n", "-p", "-o", "-W", "--junitxml", "--basetemp"),
)


class _Name:
    """A plugin of pytest: its usage and its errors of usage begin with the command's name."""

    def pytest_addoption(self, parser: pytest.Parser) -> None:
        parser.prog = program("conformance")


@command
def main() -> int:
    """Run the suite with the arguments of the command line; return pytest's status, or one of the suite's own."""
    for name in INHERITED:
        os.environ.pop(name, None)
    # Not named pytest.ini: beside the tests it would also rule runs from a checkout.
    configuration = ["-c", str(PACKAGE / "isolated.ini"), "--rootdir", str(PACKAGE), f"--confcutdir={PACKAGE}"]
    chosen, rest = split(sys.argv[1:])
    tests = [str(PACKAGE / argument) for argument in chosen] or [str(PACKAGE)]
    return int(pytest.main([*configuration, *rest, *tests], plugins=[_Name()]))


def split(given: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the tests among arguments, as paths below this package, and the rest.

    An option's value is never a test: a bundle may be called as a folder of this package is.
    """
    chosen: list[str] = []
    rest: list[str] = []
    for before, argument in pairwise(["", *given]):
        is_value = before.startswith("-") and before.partition("=")[0] in TAKE_VALUES and "=" not in before
        inside = not Path(argument).is_absolute() and (PACKAGE / argument.partition("::")[0]).exists()
        is_test = inside and not is_value and not argument.startswith("-")
        (chosen if is_test else rest).append(argument)
    return chosen, rest


if __name__ == "__main__":
    sys.exit(main())
