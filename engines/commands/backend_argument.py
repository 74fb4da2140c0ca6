"""The option --backend, which every command that draws has."""

import argparse

from mulo_sd.engines.backends.base import BackendError
from mulo_sd.engines.backends.choose import BACKENDS, check_name

BACKEND_HELP = (
    f"runs the graphs: {', '.join(BACKENDS)}, or module:factory for your own, in the working folder or an installed "
    "package (docs/write-a-backend.md)"
)

DEFAULT = "ort"


def backend_name(text: str) -> str:
    """Check the form of a backend's name, for argparse's `type`; making the backend may still fail.

    Raises:
        ArgumentTypeError: it is neither one of BACKENDS nor of the form module:factory.
    """
    try:
        check_name(text)
    except BackendError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("backend: ")) from None
    return text


def add_backend_argument(parser: argparse.ArgumentParser, default: str = DEFAULT) -> None:
    """Add the option --backend; `argparse.SUPPRESS` for its default leaves no trace where it is not given."""
    parser.add_argument(
        "--backend", type=backend_name, default=default, metavar="NAME", help=f"{BACKEND_HELP}; default: {DEFAULT}"
    )
