"""The pages: one file that replays a decode, and the service's page, each put together from the files of `assets/`."""

import html
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from mulo_sd.engines.viewer.policy import policy_in_page

# Where a decode goes in the page that replays it; the service's page puts one there, too.
DATA_MARK = "DATA-OF-THE-DECODE"
MAX_EXACT = 2**53  # JavaScript's numbers are exact up to here
_REPLAY = (("viewer.css", "replay.css"), ("cells.js", "viewer.js", "replay.js"))
_APP = (("viewer.css", "app.css"), ("cells.js", "viewer.js", "stream.js", "history.js", "app.js"))
_ESCAPED = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def viewer_html(decode: Mapping[str, Any]) -> str:
    """Return a page in one file that replays a decode, step by step.

    Args:
        decode: Values that JSON has. "frames", a list of `Frame`, and what to say of the decode, each of which may be
            missing: "prompt", "seed", "mode", "bundle", "quality", "model" and "size"; "settings" by name; and "stats",
            as those of `Stats`.
    """
    return _replay_page().replace(DATA_MARK, _json_in_page(decode))


@cache
def app_html() -> str:
    """Return the service's page: a form, the decode while it runs, and those before it."""
    page = _filled("app.html", *_APP)
    return page.replace("REPLAY-PAGE", _json_in_page(_replay_page()))


@cache
def _replay_page() -> str:
    """Return the page that replays a decode, without one."""
    page = _filled("viewer.html", *_REPLAY)
    return page.replace("CONTENT-POLICY", html.escape(policy_in_page(page)))


def _filled(name: str, styles: tuple[str, ...], scripts: tuple[str, ...]) -> str:
    page = _asset(name).replace("STYLES", "\n".join(map(_asset, styles)))
    return page.replace("SCRIPTS", "\n".join(map(_asset, scripts)))


def _asset(name: str) -> str:
    return (files(__package__) / "assets" / name).read_text(encoding="utf-8").strip()


def _json_in_page(value: object) -> str:
    """Return JSON that no HTML parser takes for anything but text, and JavaScript reads without loss."""
    return json.dumps(_exact(value), allow_nan=False, separators=(",", ":")).translate(_ESCAPED)


def _exact(value: object) -> object:
    """Return a value whose numbers beyond JavaScript's, such as seeds, are texts."""
    if isinstance(value, Mapping):
        return {str(name): _exact(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_exact(item) for item in value]
    if isinstance(value, int) and abs(value) > MAX_EXACT:
        return str(value)
    return value
