"""Settings of a decode by name, as a file or a request gives them in JSON or TOML."""

from collections.abc import Mapping
from typing import Any

from mulo_sd.engines.setting_kinds import Width, Window
from mulo_sd.engines.settings import SETTINGS, Settings, SettingsError


def settings_by_name(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as `Settings` takes them, each checked by itself.

    Args:
        content: Settings by name; None also as "infinite", of a width as "all".

    Raises:
        SettingsError: a name is no setting's, or a value is none that it can have.
    """
    made: dict[str, Any] = {}
    for name, value in content.items():
        if name not in SETTINGS:
            Settings().changed(**{name: value})  # which says what may have been meant
        kind = SETTINGS[name].kind
        word = kind.none if isinstance(kind, Window | Width) else None
        if value is None and word is None:
            raise SettingsError(f"{name}: expected a value, got null; leave the name out")
        made[name] = None if word is not None and value == word else value
        kind.check(name, made[name])
    return made
