"""Functions of the user's own that are named on a command line or in a call: module:function."""

import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

_NAME = re.compile(r"(?!\d)\w+(\.(?!\d)\w+)*:(?!\d)\w+")


class NameFormError(ValueError):
    """A name that is not of the form module:function; its message is one line for the user."""


def check_form(name: str, function: str = "function") -> None:
    """Check that a name can be that of a function in a module.

    Args:
        name: What was given.
        function: What it is called in the message.

    Raises:
        NameFormError: it cannot.
    """
    if _NAME.fullmatch(name) is None:
        raise NameFormError(f"expected module:{function}, such as my_module:make, no file or folder, got {name!r:.80}")


def function_named(name: str) -> Callable[..., Any]:
    """Return what module:function names; a module that Python does not find is looked for in the working folder, too.

    The working folder comes last, and stays there for what the module imports: no package that is installed, and none
    of ours, is taken from it instead.

    Raises:
        NameFormError: the name has another form.
        Exception: whatever the module raises.
    """
    check_form(name)
    module, _, function = name.partition(":")
    top = module.partition(".")[0]
    with suppress(OSError):  # the working folder was deleted
        here = os.getcwd()  # noqa: PTH109  # sys.path holds text
        if top not in sys.modules and importlib.util.find_spec(top) is None and here not in sys.path:
            sys.path.append(here)
            importlib.invalidate_caches()
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found
