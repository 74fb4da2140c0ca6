"""Ctrl-C while a command's modules are imported ends in a line, as it does afterwards."""

import os
import re
import sys
from types import TracebackType

PACKAGES = ("conformance", "engines", "export", "reference")


def say_interruptions_in_a_line() -> None:
    """Let Ctrl-C end in a line and 130 from now on; a command's `main` sees to what comes after the imports."""
    usual = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            usual(kind, error, trace)
            return
        print("error: interrupted; nothing was written", file=sys.stderr, flush=True)
        os._exit(130)

    sys.excepthook = hook


def starts_as_module() -> bool:
    """Whether Python is about to run a module of these packages, as in `python -m mulo_sd.export.build`."""
    if sys.argv[:1] != ["-m"]:  # which stands there until the module is found
        return False
    asked = sys.orig_argv[-len(sys.argv)]
    return re.match(rf"(-\w*m)?(mulo_sd|{'|'.join(PACKAGES)})(\.|$)", asked) is not None
