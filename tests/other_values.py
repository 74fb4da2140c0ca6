"""Of each setting a value that is not its default, by its kind: a new setting needs no line in tests of all of them."""

from typing import Any

from mulo_sd.engines.setting_kinds import Choice, Flag, Real, Whole, Width, Window
from mulo_sd.engines.settings import SETTINGS, Settings


def other_value(name: str) -> Any:
    """Return an allowed value of a setting that differs from its default."""
    kind, default = SETTINGS[name].kind, Settings.model_fields[name].default
    if isinstance(kind, Flag):
        return not default
    if isinstance(kind, Choice):
        return next(choice for choice in kind.names if choice != default)
    if isinstance(kind, Window | Width):
        return 1 if default != 1 else 2
    if isinstance(kind, Whole):
        return kind.least if default != kind.least else kind.least + 1
    if isinstance(kind, Real):
        return default + 0.5 if default + 0.5 <= kind.most else default - 0.5
    return (2,)  # drafters
