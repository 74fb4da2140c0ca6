"""Options from a command line, or from texts by name: an argument for every option that is declared."""

import argparse
import re
from collections.abc import Mapping, Sequence
from typing import Any

from mulo_sd.engines.bundle.contract import SHIPPED_MODELS
from mulo_sd.engines.ingress.options import MODEL_NAME, EngineOptions, Options, make_options
from mulo_sd.engines.numbers import SettingsError

# How an option's text is read; the others are texts.
NUMBERS: Mapping[object, type[int] | type[float]] = {int: int, int | None: int, float: float}
BUNDLES, BACKEND = "bundles", "backend"  # arguments of their own


def add_option_arguments(parser: argparse._ActionsContainer, kind: type[EngineOptions], names: list[str]) -> None:
    """Add an argument for each option of these names; one that is not given leaves no trace."""
    for name in names:
        field = kind.model_fields[name]
        default = "" if field.default is None else f"; default: {field.default}"
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=NUMBERS.get(field.annotation, str),
            default=argparse.SUPPRESS,
            help=f"{field.description}{default}",
        )


def options_from_texts(content: Mapping[str, Any], kind: type[Options]) -> Options:
    """Return options of which each may also be a text: NAME=VALUE on a command line that is not ours.

    Args:
        content: By name; bundles as text are NAME=DIR, with commas between them.
        kind: Which options there are.

    Raises:
        SettingsError: one is unknown, or none that it can be.
    """
    named: dict[str, Any] = {}
    for name, value in content.items():
        field = kind.model_fields.get(name.replace("-", "_"))
        number = NUMBERS.get(field.annotation) if field else None
        if isinstance(value, str) and name == BUNDLES:
            named[name] = named_folders(value.split(","))
        elif isinstance(value, str) and number is not None:
            try:
                named[name] = number(value)
            except ValueError:
                raise SettingsError(f"{name}: expected a number, got {value!r:.80}") from None
        else:
            named[name] = value
    return make_options(named, kind)


def named_folders(texts: Sequence[str]) -> dict[str, str]:
    """Return folders by name.

    Args:
        texts: Each NAME=DIR; the name of shipped models alone stands for itself.

    Raises:
        SettingsError: one is not, or a name comes twice.
    """
    pairs = [_named_folder(text) for text in texts]
    folders = dict(pairs)
    if len(folders) < len(pairs):
        raise SettingsError(f"bundle: expected a name of its own for each, got {', '.join(folders)} twice")
    return folders


def _named_folder(text: str) -> tuple[str, str]:
    if text in SHIPPED_MODELS:
        return text, text
    name, equals, folder = text.partition("=")
    if not equals or not folder or not re.fullmatch(MODEL_NAME, name):
        raise SettingsError(f"bundle: expected NAME=DIR, such as demo=bundles/demo-fp32, got {text!r:.80}")
    return name, folder
