"""Settings: every range is kept, and whatever is wrong is told in one line."""

import dataclasses
import itertools
import math
import re
from typing import Any, get_args

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from pydantic import ValidationError

from mulo_sd.engines import settings as engine_settings
from mulo_sd.engines.settings import MODES, UNDRAFTED_MODES, WINDOWS, Mode, Settings, SettingsError
from mulo_sd.reference import settings as reference


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mode", "both"),
        *(("drafters", value) for value in ((2, 1), (1, 1), "one", "1", 0, 1.0, True, np.array([[1]]), b"1")),
        ("up_sampler", "cubic"),
        ("down_sampler", "nearest"),
        *(("radius_nats", value) for value in (-0.1, 1e10, math.nan, "few")),
        *(("anchor", value) for value in (-0.1, 1001, math.nan, "strong")),
        *((name, value) for name in WINDOWS for value in (0, -1, 1.5, 2**20 + 1, "infinite")),
        ("islands", "perhaps"),
        ("adaptive_window", 2),
        *(("guidance_scale", value) for value in (-101, 101, math.nan, math.inf, "much")),
        *(("temperature", value) for value in (-0.1, 101, math.nan, -math.inf, "1", True, 1e-38, 5e-324, 9.9e-6)),
        *(("top_k", value) for value in (-1, 0.5, "all", "4", 4.0, True, np.float32(4), np.array([4]))),
        *(("refresh", value) for value in (0, 1, "true", np.int64(1), np.array([True]))),
        *(("tau", value) for value in ("0.1", True, np.bool_(True), np.nan, np.array([0.1]), 10**400)),
        *(("top_p", value) for value in (0, -1, 1.001, math.nan)),
        *(("tau", value) for value in (1e10, -1e10, math.nan, math.inf)),
        *(("radius", value) for value in (-1, 1.5, math.inf)),
        *(("neighbours", value) for value in (0, -3, 2.5)),
        *(("draft_rows", value) for value in (0, -1)),
        *(("look_ahead", value) for value in (-1, 0.1)),
        ("refresh", "perhaps"),
        ("accept_on", "cooked"),
        *((name, value) for name in ("draft_by", "resample_by") for value in ("cells", True)),
        *(("first_guess", value) for value in ("right", 0)),
        *(("sweep_width", value) for value in ("all", "Auto", b"auto")),
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
    assert f"got {value!r:.80}" in message
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
        {"sweep_width": "auto", "draft_by": "sweeps", "resample_by": "sweeps", "first_guess": "opening"},
        {"radius": 0, "neighbours": 1, "draft_rows": 1, "look_ahead": 0, "refresh": True, "accept_on": "raw"},
    ],
)
def test_ends_of_the_ranges(changes: dict[str, object]) -> None:
    changed = Settings().changed(**changes).model_dump()
    assert {name: changed[name] for name in changes} == changes


@hypothesis.given(st.sampled_from(tuple(MODES)), st.just(0.0) | st.floats(1e-5, 100), st.integers(0, 5))
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


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"top_k": np.int64(5), "radius": np.uint8(2), "neighbours": np.array(3)}, {"top_k": 5, "radius": 2}),
        ({"tau": np.float32(0.5), "temperature": np.float64(1), "guidance_scale": 2}, {"tau": 0.5, "temperature": 1.0}),
        ({"refresh": np.bool_(True), "islands": np.array(False)}, {"refresh": True, "islands": False}),
        ({"window": np.int32(3), "draft_window": None}, {"window": 3, "draft_window": None}),
        ({"temperature": 1e-5, "top_p": 5e-324, "radius_nats": 5e-324}, {"temperature": 1e-5, "top_p": 5e-324}),
        *(
            ({"drafters": value}, {"drafters": (1,)})
            for value in (1, [1], np.array([1]), np.int64(1), (n for n in [1]))
        ),
        *(({"drafters": value}, {"drafters": (1, 2)}) for value in ([1, 2], np.array([1, 2]), range(1, 3))),
    ],
)
def test_numbers_of_numpy(given: dict[str, object], expected: dict[str, object]) -> None:
    """Whatever is a number beyond doubt is taken, and is one of Python's afterwards, so that JSON can hold it."""
    changed = Settings().changed(**given)
    assert {name: getattr(changed, name) for name in expected} == expected
    assert Settings.model_validate_json(changed.model_dump_json()) == changed
    assert {type(value) for value in changed.model_dump().values()} <= {str, float, int, bool, tuple, type(None)}


@pytest.mark.parametrize(
    ("name", "meant"), [("guidance", "guidance_scale"), ("neighbors", "neighbours"), ("topk", "top_k")]
)
def test_an_unknown_name_is_told_with_the_one_that_is_meant(name: str, meant: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{name}: expected the name of a setting \(perhaps {meant}\), got 2\.5"):
        Settings().changed(**{name: 2.5})


@pytest.mark.parametrize("name", WINDOWS)
def test_windows_may_be_infinite(name: str) -> None:
    """None makes a window infinite, where it leaves any other setting as it is."""
    before = Settings(window=2, draft_window=3, island_window=5, sweeps=7, draft_sweeps=6, sweep_width=8, tau=0.25)
    after = before.changed(**{name: None}, tau=None)
    assert after == before.model_copy(update={name: None})
    assert after.changed(tau=None) == after
    assert after.changed(**{name: 9}) == before.model_copy(update={name: 9})


@pytest.mark.parametrize("mode", MODES)
def test_model_numbers(mode: Mode) -> None:
    """CASCADE-1: The target and its drafters; the target alone where nothing is drafted."""
    expected = (0, 1, 3) if mode in ("serial", "parallel", "exact", "ssd") else (0,)
    assert Settings(mode=mode, drafters=(1, 3)).model_numbers == expected


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mode": "sjd", "correct_by": "local"}, "mode sjd: expected draft_from coarse where correct_by is local: "),
        ({"mode": "eagle", "correct_by": "rows"}, "mode eagle: expected draft_from sweep where correct_by is rows: "),
        ({"mode": "pjd", "draft_from": "block"}, "mode pjd: expected draft_from sweep where correct_by is rows: "),
        ({"mode": "eagle", "correct_by": "rounds"}, "mode eagle: expected draft_from coarse or sweep where "),
        (
            {"mode": "lantern", "accept_by": "pooled"},
            "mode lantern: expected accept_by lossless, lantern or lantern-plus where a ",
        ),
        (
            {"mode": "eagle-tree", "tree_top": 40},
            "tree_top: expected tree_top * (tree_depth - 1) of at most 62, got 160",
        ),
        ({"mode": "sjd", "jacobi_window": 0}, "jacobi_window: expected "),
        ({"mode": "gsd", "group_distance": float("nan")}, "group_distance: expected "),
    ],
)
def test_parts_that_make_no_sense(changes: dict[str, Any], said: str) -> None:
    """METHOD-1: one line says what was expected, on both sides."""
    with pytest.raises(SettingsError, match=f"^{re.escape(said)}") as caught:
        Settings().changed(**changes)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=f"^{re.escape(said)}"):
        reference.Settings(**changes)


def test_a_method_is_three_parts() -> None:
    """METHOD-1: any other part takes a mode's own in its place; a mode that drafts nothing has none."""
    sjd = Settings(mode="serial", draft_from="sweep", accept_by="lossless", correct_by="prefix").decoding
    assert (sjd.draft, sjd.acceptance, sjd.correction, sjd.by_rows) == ("sweep", "lossless", "prefix", False)
    assert Settings(mode="exact", draft_from="sweep").decoding.reads == Settings(mode="ar").decoding.reads
    assert Settings(mode="zipar", accept_by="lantern").decoding == MODES["zipar"]
    assert Settings(mode="parallel", accept_by="lantern").unread(["tau", "lantern_delta", "radius"]) == ["tau"]


def test_the_references_settings() -> None:
    """Names and defaults are those of the reference, so that one set of settings serves both."""
    assert Settings().model_dump() == dataclasses.asdict(reference.Settings())
    assert tuple(reference.MODES) == tuple(MODES)
    assert reference.UNDRAFTED_MODES == UNDRAFTED_MODES
    for name in ("Mode", "UpSampler", "DownSampler", "AcceptOn", "ScheduledBy", "FirstGuess"):
        assert get_args(getattr(engine_settings, name)) == get_args(getattr(reference, name))


def test_no_endless_iterable_is_read() -> None:
    with pytest.raises(SettingsError, match=r"^drafters"):
        Settings().changed(drafters=itertools.count(1))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("temperature", value) for value in (5e-324, 1e-38, 9.9e-6, -1, 101, math.nan, "1", True)),
        *(("top_p", value) for value in (0, 1.5, math.nan, "1", np.array([0.5]))),
        *(
            (name, value)
            for name in ("tau", "anchor", "radius_nats", "guidance_scale")
            for value in (math.nan, math.inf, "1")
        ),
        *(
            (name, value)
            for name in ("top_k", "radius", "neighbours", "draft_rows")
            for value in (-1, 1.0, True, "1", None)
        ),
        *((name, value) for name in WINDOWS for value in (0, 2.0, False, "4")),
        *((name, value) for name in ("refresh", "islands", "adaptive_window") for value in (0, 1, "yes", None)),
        *(("drafters", value) for value in ((), (0,), (2, 1), (1, 1), "1", (1.0,), True, None)),
        *(
            (name, value)
            for name in ("mode", "up_sampler", "accept_on", "draft_by", "resample_by", "first_guess")
            for value in ("other", 3, None)
        ),
        *(("sweep_width", value) for value in ("all", "AUTO", np.array("auto"))),
    ],
)
def test_the_reference_refuses_what_the_engines_refuse(name: str, value: object) -> None:
    """In one line that begins with the name."""
    with pytest.raises(ValueError, match=rf"^{name}: expected [^\n]*, got [^\n]*$"):
        reference.Settings(**{name: value})  # type: ignore[arg-type]  # that is what is refused
    with pytest.raises(ValidationError):
        Settings(**{name: value})  # type: ignore[arg-type]  # as above


def test_the_reference_takes_numbers_of_numpy() -> None:
    given: dict[str, Any] = {
        "top_k": np.int64(5),
        "tau": np.float32(0.5),
        "refresh": np.bool_(True),
        "window": np.uint8(3),
    }
    found = reference.Settings(**given, drafters=np.array([1, 2]))  # type: ignore[arg-type]  # as callers give it
    assert found == reference.Settings(top_k=5, tau=0.5, refresh=True, drafters=(1, 2), window=3)
    assert {type(value) for value in dataclasses.asdict(found).values()} <= {str, float, int, bool, tuple, type(None)}


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().tau = 0.5


def test_a_manifest_gives_them_back() -> None:
    settings = Settings(mode="ar", tau=-1.5, top_p=0.9, drafters=(1, 2), window=None)
    assert Settings.model_validate_json(settings.model_dump_json()) == settings


def test_a_name_that_python_gives_to_an_object_itself_is_as_unknown_as_others() -> None:
    with pytest.raises(SettingsError, match="self: expected the name of a setting, got 1"):
        Settings().changed(self=1)
