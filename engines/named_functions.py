"""Import a function of the user's own by its name, module:function."""

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
    """A name that is not of the form module:function; the message is one line for the user."""


def check_form(name: str, function: str = "function") -> None:
    """Check that a name has the form module:function.

    Args:
        name: The name.
        function: What the message calls the function: "factory", say.

    Raises:
        NameFormError: it has another form.
    """
    if _NAME.fullmatch(name) is None:
        raise NameFormError(f"expected module:{function}, such as my_module:make, no file or folder, got {name!r:.80}")


def function_named(name: str) -> Callable[..., Any]:
    """Import the function that module:function names, from Python's path or from the working folder.

    The working folder comes last on the path, so that it hides no installed package and none of ours; it stays there,
    so that the module can import its neighbours.

    Raises:
        NameFormError: the name has another form.
        Exception: whatever the module raises.
    """
    check_form(name)
    module, _, function = name.partition(":")
    top = module.partition(".")[0]
    with suppress(OSError):  # the working folder was deleted
        folder = os.getcwd()  # noqa: PTH109  # sys.path holds text
        if top not in sys.modules and importlib.util.find_spec(top) is None and folder not in sys.path:
            sys.path.append(folder)
            importlib.invalidate_caches()
    named: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return named
