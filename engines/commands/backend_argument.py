"""The option --backend, the same in every command that draws."""

import argparse

from mulo_sd.engines.backends.base import BackendError
from mulo_sd.engines.backends.choose import BACKENDS, check_name

BACKEND_HELP = (
    f"{', '.join(BACKENDS)}, or module:factory for one of your own, from the working folder or an installed package "
    "(docs/write-a-backend.md)"
)


def backend_name(text: str) -> str:
    """Return the name of a backend, for `argparse`; whether it can be made is seen when it is.

    Raises:
        ArgumentTypeError: it is neither one of ours nor of the form module:factory.
    """
    try:
        check_name(text)
    except BackendError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("backend: ")) from None
    return text


def add_backend_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option."""
    parser.add_argument(
        "--backend", type=backend_name, default="ort", metavar="NAME", help=f"{BACKEND_HELP}; default: %(default)s"
    )
