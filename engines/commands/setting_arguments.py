"""The settings of a decode on a command line: an option for each, and a file of several."""

import argparse
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mulo_sd.engines.files.paths import user_path
from mulo_sd.engines.files.text_files import TextFileError, read_text, strict_json
from mulo_sd.engines.modes import MODES
from mulo_sd.engines.parts import ACCEPTANCE_READS
from mulo_sd.engines.service.named_settings import settings_by_name
from mulo_sd.engines.setting_kinds import AUTO, Choice, Flag, Kind, Width, Window
from mulo_sd.engines.settings import SETTINGS, Settings, SettingsError

MAX_SETTINGS_BYTES = 2**16
SUFFIXES = (".json", ".toml")


def readers(name: str) -> tuple[str, ...]:
    """Return the modes that read a setting, in words: some with a cascade alone, or none but with another part."""
    modes = tuple(
        mode if name in entry.reads else f"{mode} with a cascade"
        for mode, entry in MODES.items()
        if name in entry.reads | entry.cascade_reads
    )
    return modes or tuple(f"accept-by {rule}" for rule, reads in ACCEPTANCE_READS.items() if name in reads)


def option_of(name: str) -> str:
    """Return a setting's option: `--radius-nats`."""
    return f"--{(SETTINGS[name].option or name).replace('_', '-')}"


def add_setting_arguments(parser: argparse.ArgumentParser, default: str = "the bundle's") -> None:
    """Add --mode, an option for every other setting, grouped by the modes that read it, and --settings.

    An option that does not stand on the command line leaves no trace: None is a window's infinity.

    Args:
        parser: Of a command.
        default: Whose value a setting keeps that is not given, for help.
    """
    parser.add_argument(
        "--settings",
        dest="settings_file",
        type=user_path,
        metavar="FILE",
        help="JSON or TOML file of settings by name; an option beside it comes first",
    )
    group = parser.add_argument_group("settings that every mode reads", f"docs/semantics.md; default: {default}")
    groups: dict[tuple[str, ...], argparse._ArgumentGroup] = {tuple(MODES): group}
    purposes = "; ".join(f"{name}: {entry.purpose.replace('`', '')}" for name, entry in MODES.items())
    group.add_argument("--mode", choices=tuple(MODES), default=argparse.SUPPRESS, help=purposes)
    for name, setting in SETTINGS.items():
        if name == "mode":
            continue
        modes = readers(name)
        if modes not in groups:
            groups[modes] = parser.add_argument_group(f"settings that {_listed(modes)} read{'s' * (len(modes) == 1)}")
        text = f"{setting.purpose} ({setting.rule}; {setting.kind.values})"
        groups[modes].add_argument(
            option_of(name), dest=name, default=argparse.SUPPRESS, help=text, **_how_to_read(setting.kind)
        )


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _how_to_read(kind: Kind) -> dict[str, Any]:
    """Return what argparse needs to read a setting of some kind."""
    if isinstance(kind, Flag):
        return {"action": argparse.BooleanOptionalAction}
    if isinstance(kind, Choice):
        return {"choices": kind.names}
    words = ["N"]
    if isinstance(kind, Window | Width):
        words += [kind.none] if isinstance(kind, Window) else [kind.none, AUTO]
    return {"type": _option_type(kind.parse), "metavar": "|".join(words)}


def _option_type(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def settings_from_arguments(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that the command line names, in its options and in the file of --settings, by name.

    Raises:
        SettingsError: the file cannot be read, names what is no setting, or gives one what it cannot be.
    """
    path = arguments.settings_file
    options = {name: getattr(arguments, name) for name in SETTINGS if hasattr(arguments, name)}
    return options if path is None else read_settings(path) | options


def read_settings(path: Path) -> dict[str, Any]:
    """Return the settings of a file, by name.

    Args:
        path: JSON or TOML, by its ending: an object or table of settings; None also as "infinite", of a width as "all".

    Raises:
        SettingsError: it cannot be read, names what is no setting, or gives one what it cannot be.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise SettingsError(f"{path}: expected a file that ends in {' or '.join(SUFFIXES)}, got {path.suffix!r}")
    try:
        text = read_text(path, MAX_SETTINGS_BYTES, "settings")
        content = strict_json(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except TextFileError as error:
        raise SettingsError(str(error)) from None
    except (ValueError, RecursionError) as error:  # tomllib's and json's are ValueErrors
        raise SettingsError(f"{path}: expected {path.suffix[1:].upper()}: {error}".splitlines()[0]) from None
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: expected settings by name, got {type(content).__name__}")
    try:
        return settings_by_name(content)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None


def leave_out_unread(named: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Say in a line on standard error which settings of a command line its decodes do not read; return the others.

    A line each tells of those that have no effect beside the others.

    Args:
        named: From `settings_from_arguments`.
        settings: That it would decode with.
    """
    unread = settings.unread(named)
    if unread:
        which = "; ".join(f"{name}: {_listed(readers(name))}" for name in unread)
        print(f"note: mode {settings.mode} does not read {', '.join(unread)} ({which})", file=sys.stderr)
    for name, (chooses, needed) in settings.idle(named).items():
        print(f"note: {name} has no effect without {option_of(chooses)} {needed}", file=sys.stderr)
    return {name: value for name, value in named.items() if name not in unread}
