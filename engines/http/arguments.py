"""The command line of the service: an argument for every option that is declared."""

import argparse
from pathlib import Path
from typing import Any

from mulo_sd.engines.files.paths import user_path
from mulo_sd.engines.http.options import ServeOptions, read_options
from mulo_sd.engines.ingress.arguments import BACKEND, BUNDLES, add_option_arguments, named_folders
from mulo_sd.engines.ingress.options import Options, make_options


def add_serve_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the service, but for the backend, which every command has."""
    parser.add_argument(
        "--config", type=user_path, metavar="FILE", help="TOML file of these options; one beside it comes first"
    )
    parser.add_argument(
        "--bundle",
        dest=BUNDLES,
        action="append",
        metavar="NAME=DIR",
        default=argparse.SUPPRESS,
        help=ServeOptions.model_fields[BUNDLES].description,
    )
    names = [name for name in ServeOptions.model_fields if name not in (BUNDLES, BACKEND)]
    add_option_arguments(parser, ServeOptions, names)


def options_from_arguments(named: dict[str, Any], kind: type[Options]) -> Options:
    """Return the options of a command line, and of the file that it names.

    Args:
        named: The arguments that were given, by name.
        kind: Which options there are.

    Raises:
        SettingsError: one is unknown, or none that it can be.
    """
    config: Path | None = named.pop("config")
    if BUNDLES in named:
        named[BUNDLES] = named_folders(named[BUNDLES])
    return make_options((read_options(config) if config else {}) | named, kind)
