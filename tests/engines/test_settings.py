"""Settings: every range is kept, and whatever is wrong is told in one line."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from engines.settings import MODES, Mode, Settings, SettingsError


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mode", "parallel"),
        *(("guidance_scale", value) for value in (-101, 101, math.nan, math.inf, "much")),
        *(("temperature", value) for value in (-0.1, 101, math.nan, -math.inf)),
        *(("top_k", value) for value in (-1, 0.5, "all")),
        *(("top_p", value) for value in (0, -1, 1.001, math.nan)),
        *(("tau", value) for value in (1e10, -1e10, math.nan, math.inf)),
        *(("radius", value) for value in (-1, 1.5, math.inf)),
        *(("neighbours", value) for value in (0, -3, 2.5)),
        *(("draft_rows", value) for value in (0, -1)),
        *(("look_ahead", value) for value in (-1, 0.1)),
        ("refresh", "perhaps"),
        ("accept_on", "cooked"),
        ("rows", 3),
        ("tau", [1, 2]),
        ("mode", "two\nlines"),
    ],
)
def test_out_of_range(name: str, value: object) -> None:
    """The message is one line that begins with the setting's name and holds what came."""
    with pytest.raises(SettingsError) as caught:
        Settings().changed(**{name: value})
    message = str(caught.value)
    assert message.startswith(f"{name}: ")
    assert f"got {value!r}" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": "ar", "guidance_scale": 1, "temperature": 0},
        {"guidance_scale": -100, "top_k": 0, "top_p": 1e-9, "tau": -1e9},
        {"guidance_scale": 100, "temperature": 100, "top_p": 1, "tau": 1e9},
        {"radius": 0, "neighbours": 1, "draft_rows": 1, "look_ahead": 0, "refresh": True, "accept_on": "raw"},
    ],
)
def test_ends_of_the_ranges(changes: dict[str, object]) -> None:
    changed = Settings().changed(**changes).model_dump()
    assert {name: changed[name] for name in changes} == changes


@given(st.sampled_from(MODES), st.floats(0, 100), st.integers(0, 5))
def test_changes_leave_the_rest(mode: Mode, temperature: float, radius: int) -> None:
    """None leaves a setting as it is; the settings that are changed stay as they were."""
    before = Settings(draft_rows=3, tau=0.25)
    after = before.changed(mode=mode, temperature=temperature, radius=radius, draft_rows=None, tau=None)
    assert after == Settings(mode=mode, temperature=temperature, radius=radius, draft_rows=3, tau=0.25)
    assert before == Settings(draft_rows=3, tau=0.25)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().tau = 0.5


def test_a_manifest_gives_them_back() -> None:
    settings = Settings(mode="ar", tau=-1.5, top_p=0.9)
    assert Settings.model_validate_json(settings.model_dump_json()) == settings
