"""Settings: every range is kept, and whatever is wrong is told in one line."""

import dataclasses
import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import engines.settings
from engines.settings import MODES, UNDRAFTED_MODES, WINDOWS, Mode, Settings, SettingsError
from reference import settings as reference


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mode", "both"),
        *(("drafters", value) for value in ((2, 1), (1, 1), "one", 1)),
        ("up_sampler", "cubic"),
        ("down_sampler", "nearest"),
        *(("radius_nats", value) for value in (-0.1, 1e10, math.nan, "few")),
        *(("anchor", value) for value in (-0.1, 1001, math.nan, "strong")),
        *((name, value) for name in WINDOWS for value in (0, -1, 1.5, 2**20 + 1, "infinite")),
        ("islands", "perhaps"),
        ("adaptive_window", 2),
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
        {
            "mode": "exact",
            "drafters": (1, 8),
            "up_sampler": "latent",
            "down_sampler": "latent",
            "radius_nats": 1e9,
            "anchor": 1000,
        },
        {"mode": "parallel", "islands": False, "adaptive_window": True, "radius_nats": 0, "drafters": (3,)},
        dict.fromkeys(WINDOWS, 1),
        dict.fromkeys(WINDOWS, 2**20),
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


@pytest.mark.parametrize(
    ("drafters", "said"),
    [((), "drafters: "), ((0, 1), "drafters.0: "), ((9,), "drafters.0: "), ((1.5,), "drafters.0: ")],
)
def test_drafters_out_of_range(drafters: tuple[object, ...], said: str) -> None:
    """A chain has at least one drafter, and model 0 is none."""
    with pytest.raises(SettingsError) as caught:
        Settings().changed(drafters=drafters)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("changes", [{"mode": "exact"}, {"accept_on": "raw"}, {"mode": "exact", "accept_on": "raw"}])
def test_exact_is_processed(changes: dict[str, object]) -> None:
    """DIST-2: MODE-EXACT refuses another distribution, whichever of the two is given last."""
    before = Settings(mode="serial", accept_on="raw") if "mode" in changes else Settings(mode="exact")
    with pytest.raises(SettingsError) as caught:
        before.changed(**changes)
    assert str(caught.value) == "accept_on: expected 'processed' in mode exact (DIST-2); see docs/semantics.md"


@pytest.mark.parametrize("name", WINDOWS)
def test_windows_may_be_infinite(name: str) -> None:
    """None makes a window infinite, where it leaves any other setting as it is."""
    before = Settings(window=2, draft_window=3, island_window=5, exact_window=7, tau=0.25)
    after = before.changed(**{name: None}, tau=None)
    assert after == before.model_copy(update={name: None})
    assert after.changed(tau=None) == after
    assert after.changed(**{name: 9}) == before.model_copy(update={name: 9})


@pytest.mark.parametrize("mode", MODES)
def test_model_numbers(mode: Mode) -> None:
    """CASCADE-1: The target and its drafters; the target alone where nothing is drafted."""
    expected = (0,) if mode in ("ar", "zipar") else (0, 1, 3)
    assert Settings(mode=mode, drafters=(1, 3)).model_numbers == expected


def test_the_references_settings() -> None:
    """Names and defaults are those of the reference, so that one set of settings serves both."""
    assert Settings().model_dump() == dataclasses.asdict(reference.Settings())
    assert reference.MODES == MODES
    assert reference.UNDRAFTED_MODES == UNDRAFTED_MODES
    for name in ("Mode", "UpSampler", "DownSampler"):
        assert get_args(getattr(engines.settings, name)) == get_args(getattr(reference, name))


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().tau = 0.5


def test_a_manifest_gives_them_back() -> None:
    settings = Settings(mode="ar", tau=-1.5, top_p=0.9, drafters=(1, 2), window=None)
    assert Settings.model_validate_json(settings.model_dump_json()) == settings
