"""mulo-sd-conformance: run the suite from anywhere, apart from the caller's own pytest configuration."""

import os
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent
# What a caller's environment could slip into the run.
INHERITED = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")


def main() -> int:
    """Run the suite with the arguments of the command line; return pytest's status, or one of the suite's own."""
    for name in INHERITED:
        os.environ.pop(name, None)
    # Not named pytest.ini: beside the tests it would also rule runs from a checkout.
    configuration = ["-c", str(PACKAGE / "isolated.ini"), "--rootdir", str(PACKAGE), f"--confcutdir={PACKAGE}"]
    given = sys.argv[1:]
    chosen = [argument for argument in given if not argument.startswith("-") and (PACKAGE / argument).exists()]
    rest = [argument for argument in given if argument not in chosen]
    tests = [str(PACKAGE / argument) for argument in chosen] or [str(PACKAGE)]
    return int(pytest.main([*configuration, *rest, *tests]))


if __name__ == "__main__":
    sys.exit(main())
