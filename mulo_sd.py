"""Starts the commands of this project, and keeps its packages apart from others that are called the same.

`engines`, `export`, `reference` and `conformance` are common names: a folder that somebody works in may hold an
`export.py` or a package `engines` of its own. Python looks there first for `python -m`, and wherever PYTHONPATH names
the folder. This module has a name that nobody else uses. A command that is started through it, or with `python -m`,
finds the packages that lie beside it. A program that imports them as a library is left as it is.
"""

import os
import re
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from types import TracebackType

PACKAGES = ("conformance", "engines", "export", "reference")
ROOT = str(Path(__file__).resolve().parent)


def _leads_to_packages(entry: str) -> bool:
    return any(PathFinder.find_spec(name, [entry]) is not None for name in PACKAGES)


def prefer_own_packages() -> None:
    """Put this module's folder before the first entry of `sys.path` that holds a package of one of the names.

    The order of everything else stays. Processes of `multiprocessing` and pytest-xdist take `sys.path` over.
    """
    for index, entry in enumerate(sys.path):
        if os.path.realpath(entry or os.curdir) == ROOT:
            return
        if _leads_to_packages(entry):
            sys.path.insert(index, ROOT)
            return
    sys.path.append(ROOT)


def say_interruptions_in_a_line() -> None:
    """Let Ctrl-C while a command's modules are imported end in a line and 130; its `main` sees to what comes after."""
    usual = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            usual(kind, error, trace)
            return
        print("error: interrupted; nothing was written", file=sys.stderr, flush=True)
        os._exit(130)

    sys.excepthook = hook


def _is_run_as_module() -> bool:
    """Whether Python is about to run a module of these packages: `python -m export.build`."""
    if sys.argv[:1] != ["-m"]:  # which stands there until the module is found
        return False
    asked = sys.orig_argv[-len(sys.argv)]
    return re.match(rf"(-\w*m)?({'|'.join(PACKAGES)})(\.|$)", asked) is not None


def environment(*folders: Path | str) -> dict[str, str]:
    """Return the environment in which `python -m` and `python -c` find these packages, and nothing in their folder.

    Args:
        folders: Where else modules are found.
    """
    others = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    path = os.pathsep.join([ROOT, *map(str, folders), *others])
    return os.environ | {"PYTHONSAFEPATH": "1", "PYTHONPATH": path}


def generate() -> int:
    """Run `mulo-sd-generate`."""
    prefer_own_packages()
    say_interruptions_in_a_line()
    from engines.generate import main

    return main()


def build() -> int:
    """Run `mulo-sd-build`."""
    prefer_own_packages()
    say_interruptions_in_a_line()
    from export.build import main

    return main()


def conformance() -> int:
    """Run `mulo-sd-conformance`."""
    prefer_own_packages()
    say_interruptions_in_a_line()
    from conformance.__main__ import main

    return main()


if _is_run_as_module():
    prefer_own_packages()
    say_interruptions_in_a_line()
