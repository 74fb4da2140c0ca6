"""What ends a command while its modules are imported: Ctrl-C and a package that is not installed end in a line."""

import os
import re
import sys
from types import TracebackType

from mulo_sd.missing import missing_package

PACKAGES = ("conformance", "engines", "export", "reference")


def end_early_errors_in_a_line(module: str) -> None:
    """Let Ctrl-C end in a line and 130, and a package that an extra brings in a line and 2.

    A command's `main` sees to what comes after the imports.

    Args:
        module: The command's.
    """
    usual = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            print("error: interrupted; nothing was written", file=sys.stderr, flush=True)
            os._exit(130)
        line = missing_package(error, module)
        if line is None:
            usual(kind, error, trace)
            return
        print(f"error: {line}", file=sys.stderr, flush=True)
        os._exit(2)

    sys.excepthook = hook


def module_that_starts() -> str | None:
    """Return the module of these packages that Python is about to run, as in `python -m mulo_sd.export.build`."""
    if sys.argv[:1] != ["-m"]:  # which stands there until the module is found
        return None
    argument = sys.orig_argv[-len(sys.argv)]
    match = re.fullmatch(rf"(?:-\w*m)?((?:mulo_sd|{'|'.join(PACKAGES)})(?:\..*)?)", argument)
    return match and match[1]
