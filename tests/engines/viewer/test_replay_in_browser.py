"""The page that replays a decode, in a browser, from a disk and from a server that sends its policy."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mulo_sd.engines.service.pipeline import Pipeline
from mulo_sd.engines.viewer.frames import Frame, frames_of
from mulo_sd.engines.viewer.page import viewer_html
from mulo_sd.engines.viewer.policy import content_security_policy
from tests.engines.viewer.recorded import record

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

PROMPT = "</script><script>document.title = 'broken'</script>"
SEED = 2**64 - 1


@pytest.fixture(scope="module")
def frames(pipeline: Pipeline) -> list[Frame]:
    steps, _ = record(pipeline, mode="parallel", drafters=(1,))
    return frames_of(steps, pipeline.image_from_tokens)


@pytest.fixture(scope="module")
def html(frames: list[Frame]) -> str:
    settings: dict[str, Any] = {"tau": 0.1, "drafters": [1], "sweeps": None}
    return viewer_html({"prompt": PROMPT, "seed": SEED, "mode": "parallel", "settings": settings, "frames": frames})


def watched(page: "Page") -> list[str]:
    """Return what goes wrong on a page, as it does."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    return said


@pytest.fixture(params=["disk", "server"])
def page(request: pytest.FixtureRequest, html: str, tmp_path: Path, browser: "Browser") -> Iterator["Page"]:
    """The page; nothing goes wrong on it, and it asks nobody for anything."""
    page = browser.new_page(viewport={"width": 800, "height": 900})
    said, asked = watched(page), []
    if request.param == "disk":
        (tmp_path / "decode.html").write_text(html)
        address = (tmp_path / "decode.html").as_uri()
    else:
        address = "http://viewer.test/"
        headers = {"content-type": "text/html", "content-security-policy": content_security_policy(html)}

        def answer(route: "Route") -> None:
            route.fulfill(body=html, headers=headers)

        page.route("**/*", answer)
    page.on("request", lambda sent: asked.append(sent.url))
    page.goto(address)
    yield page
    assert said == []
    assert {url for url in asked if not url.startswith("data:")} == {address}
    page.close()


def place(page: "Page") -> int:
    match = re.fullmatch(r"Step (\d+) of \d+", page.inner_text(".viewer-count"))
    assert match is not None
    return int(match[1])


def stage(page: "Page") -> bytes:
    return page.locator(".viewer-stage").screenshot()


def test_it_says_what_was_drawn(page: "Page") -> None:
    """All digits of a seed, and a prompt as it is."""
    assert page.inner_text("h1") == page.title() == PROMPT
    assert str(SEED) in page.inner_text("#about")
    page.click("summary")
    assert "tau\n0.1" in page.inner_text("details")


def test_keys_go_through_the_steps(page: "Page", frames: list[Frame]) -> None:
    assert place(page) == 1
    for key, wanted in (
        ("ArrowRight", 2),
        ("ArrowRight", 3),
        ("ArrowLeft", 2),
        ("End", len(frames)),
        ("ArrowRight", len(frames)),
        ("Home", 1),
    ):
        page.keyboard.press(key)
        assert place(page) == wanted
        assert page.inner_text(".viewer-title") == frames[wanted - 1]["title"]
        assert page.inner_text(".viewer-detail") == frames[wanted - 1]["detail"]
    page.keyboard.press("Control+ArrowRight")
    assert place(page) == 1
    page.locator(".viewer").blur()
    page.keyboard.press("End")
    assert place(page) == 1, "elsewhere, keys are the page's own"


def test_buttons_and_slider(page: "Page", frames: list[Frame]) -> None:
    for label, wanted in (("Next", 2), ("Last", len(frames)), ("Previous", len(frames) - 1), ("First", 1)):
        page.get_by_role("button", name=f"{label} step").click()
        assert place(page) == wanted
    assert page.get_by_role("button", name="Previous step").is_disabled()
    slider = page.get_by_role("slider", name="Step", exact=True)
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert place(page) == 2
    assert slider.get_attribute("aria-valuetext") == f"Step 2 of {len(frames)}: {frames[1]['title']}"
    page.keyboard.press("End")
    assert place(page) == len(frames)


def test_it_plays_to_the_end(page: "Page", frames: list[Frame]) -> None:
    """By space and by the button; what moves by itself is not read aloud."""
    page.keyboard.press("Space")
    caption = page.locator(".viewer-caption")
    assert page.get_by_role("button", name="Pause").is_visible()
    assert caption.get_attribute("aria-live") == "off"
    while place(page) < 3:
        page.wait_for_timeout(20)
    page.keyboard.press("Space")
    assert caption.get_attribute("aria-live") == "polite"
    stopped = place(page)
    for _ in range(len(frames) - 3 - stopped):
        page.keyboard.press("ArrowRight")
    page.get_by_role("button", name="Play").click()
    page.get_by_text(f"Step {len(frames)} of").wait_for()
    assert page.get_by_role("button", name="Play").is_visible()


def test_the_map_of_decisions(page: "Page", frames: list[Frame]) -> None:
    """It can be switched off and faded; the result is first shown without it."""
    number = next(number for number, frame in enumerate(frames) if frame["kind"] == "verified")
    for _ in range(number):
        page.keyboard.press("ArrowRight")
    counts = {
        name: frames[number]["cells"].count(digit) for name, digit in (("kept", "3"), ("rejected", "4"), ("drawn", "6"))
    }
    legend = page.inner_text(".viewer-legend").split("\n")
    assert {f"{name}: {count}" for name, count in counts.items()} <= set(legend)
    switch = page.get_by_role("checkbox", name="Map of decisions")
    assert switch.is_checked()
    strong = stage(page)
    page.get_by_role("slider", name="Strength of the map").fill("10")
    faint = stage(page)
    switch.uncheck()
    off = stage(page)
    assert len({strong, faint, off}) == 3
    switch.check()
    assert stage(page) == faint
    page.keyboard.press("End")
    assert not switch.is_checked()
    bare = stage(page)
    switch.check()
    assert stage(page) != bare


def test_steps_look_different(page: "Page", frames: list[Frame]) -> None:
    """And none is empty: an image is more than one colour."""
    turns = [
        number for number, frame in enumerate(frames) if number == 0 or frame["kind"] != frames[number - 1]["kind"]
    ]
    seen = []
    for number in range(len(frames)):
        if number in turns:
            seen.append(stage(page))
        page.keyboard.press("ArrowRight")
    assert len(turns) >= 4
    assert len(set(seen)) == len(turns)
    assert page.locator(".viewer-stage img").evaluate("(image) => image.naturalWidth") == 16


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_windows_and_dark_ones(scheme: Any, html: str, tmp_path: Path, browser: "Browser") -> None:
    """Nothing has to be scrolled sideways at 320 pixels."""
    page = browser.new_page(viewport={"width": 320, "height": 640}, color_scheme=scheme)
    (tmp_path / "decode.html").write_text(html)
    page.goto((tmp_path / "decode.html").as_uri())
    page.click("summary")
    for key in ("Home", "ArrowRight", "End"):
        page.locator(".viewer").press(key)
        assert page.evaluate("document.documentElement.scrollWidth") == 320
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background))) < 384) == (scheme == "dark")
    page.close()


def test_who_wants_little_motion_gets_slow_steps(html: str, tmp_path: Path, browser: "Browser") -> None:
    page = browser.new_page(reduced_motion="reduce")
    (tmp_path / "decode.html").write_text(html)
    page.goto((tmp_path / "decode.html").as_uri())
    page.keyboard.press("Space")
    page.wait_for_timeout(1200)
    assert place(page) == 1
    page.get_by_text("Step 2 of").wait_for()
    page.close()


def test_no_frames(tmp_path: Path, browser: "Browser") -> None:
    """A page without a decode says so, and does nothing."""
    page = browser.new_page()
    said = watched(page)
    (tmp_path / "none.html").write_text(viewer_html(json.loads('{"frames": []}')))
    page.goto((tmp_path / "none.html").as_uri())
    for key in ("ArrowRight", "End", "Space"):
        page.keyboard.press(key)
    assert page.inner_text(".viewer-count") == "No steps yet"
    assert said == []
    page.close()
