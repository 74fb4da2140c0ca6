"""The service's page in a browser, before the real service; answers that it does not give come from the test."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mulo_sd.conformance.tools.serving.served import Served, bundle_argument
from mulo_sd.engines.service.pipeline import Pipeline

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

PROMPT = "a red circle left of a blue square"
SEED = 2**64 - 1
IMAGES = "**/v1/images/generations"


def opened(browser: "Browser", url: str, **options: Any) -> "Page":
    page = browser.new_page(**options)
    page.goto(url + "/")
    return page


@pytest.fixture
def page(browser: "Browser", service: Served) -> Iterator["Page"]:
    """The page, when it knows the models; its policy and its code go together."""
    said: list[str] = []
    page = opened(browser, service.url, viewport={"width": 1000, "height": 900})
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda message: said.append(message.text) if "Security" in message.text else None)
    page.locator("#model option").first.wait_for(state="attached")
    yield page
    page.close()
    assert said == []


def draw(page: "Page", prompt: str = PROMPT, seed: int = 1, quality: str = "balanced") -> None:
    """Draw, and wait for the image."""
    page.fill("#prompt", prompt)
    page.fill("#seed", str(seed))
    page.select_option("#quality", quality)
    page.click("#draw")
    page.locator("#outcome:not([hidden])").wait_for()


def entries(page: "Page") -> list[str]:
    return page.locator("#history .words").all_inner_texts()


def test_it_draws_and_shows_every_step(page: "Page", pipeline: Pipeline) -> None:
    """The image is the pipeline's, of all digits of the seed; the steps can be gone through again."""
    draw(page, seed=SEED)
    result = pipeline.generate(PROMPT, seed=SEED)
    passes = result.stats.nfe_target + result.stats.nfe_drafter
    assert re.fullmatch(rf"Drawn in {passes} passes and .* s\.", page.inner_text("#status"))
    assert page.inner_text(".viewer-title") == "The result"
    steps = int(page.inner_text(".viewer-count").rpartition(" ")[2])
    assert steps >= 4
    page.locator(".viewer").press("Home")
    assert page.inner_text(".viewer-title").startswith("Drafter 2 draws a coarse draft, 2 x 2")
    assert page.inner_text(".viewer-count") == f"Step 1 of {steps}"
    (entry,) = entries(page)
    assert str(SEED) in entry
    assert f"{passes} passes" in entry
    assert "(" not in str(page.get_attribute("#download", "download"))
    assert str(page.get_attribute("#download", "href")).startswith("data:image/png;base64,")


def test_what_a_quality_promises(page: "Page") -> None:
    told = set()
    for quality in ("fast", "balanced", "exact"):
        page.select_option("#quality", quality)
        told.add(page.inner_text("#promise"))
        assert "16 x 16 pixels." in page.inner_text("#promise")
    assert len(told) == 3


def test_an_error_is_the_services_own_line(page: "Page") -> None:
    page.fill("#prompt", "an elephant")
    page.click("#draw")
    page.locator("#status.is-error").wait_for()
    assert page.inner_text("#status").startswith("prompt: unknown word 'elephant'")
    assert page.get_attribute("#status", "aria-live") == "polite"
    assert page.locator("#draw").is_enabled()


def test_the_page_waits_for_a_service_that_loads(page: "Page", service: Served) -> None:
    """Opened too early it says so, and asks again until the models are there."""
    body = (
        '{"error": {"message": "service: loading", "type": "server_error", "param": null, "code": "service_loading"}}'
    )
    loading = [True, True]
    refused = {"status": 503, "content_type": "application/json", "body": body}
    page.route(
        "**/v1/models", lambda route: route.fulfill(**refused) if loading and loading.pop() else route.continue_()
    )
    page.goto(service.url)
    page.locator("#status", has_text="loading its models").wait_for()
    page.locator("#model option").first.wait_for(state="attached")
    assert page.inner_text("#status") == ""
    assert loading == []


@pytest.mark.parametrize(
    ("seed", "said"), [("", "whole"), ("-1", "whole"), ("1.5", "whole"), (str(2**64), "18446744073709551615")]
)
def test_a_wrong_seed_is_told_before_anything_is_sent(seed: str, said: str, page: "Page") -> None:
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    page.fill("#seed", seed)
    page.click("#draw")
    assert said in page.inner_text("#status")
    assert page.get_attribute("#seed", "aria-invalid") == "true"
    assert sent == []


def test_the_history_replays_and_outlives_a_reload(page: "Page") -> None:
    """Newest first; after a reload a click draws the same image again."""
    draw(page, seed=1)
    first = page.get_attribute("#download", "href")
    draw(page, "two green stars", 2, "fast")
    assert [entry.partition("\n")[0] for entry in entries(page)] == ["two green stars", PROMPT]
    page.locator("#history button").nth(1).click()
    assert page.inner_text(".viewer-count").startswith("Step 1 of")
    assert page.get_attribute("#download", "href") == first
    assert (page.input_value("#prompt"), page.input_value("#quality")) == (PROMPT, "balanced")
    page.reload()
    page.locator("#history li").nth(1).wait_for()
    assert all("a click draws it again" in entry for entry in entries(page))
    page.locator("#model option").first.wait_for(state="attached")
    page.locator("#history button").nth(1).click()
    page.locator("#outcome:not([hidden])").wait_for()
    assert page.get_attribute("#download", "href") == first
    assert [entry.partition("\n")[0] for entry in entries(page)] == [PROMPT, "two green stars"]


def test_it_saves_the_page_that_replays(page: "Page", browser: "Browser", tmp_path: Path) -> None:
    """With all its frames, its seed and a prompt as it is; nothing goes wrong on it."""
    draw(page, seed=SEED)
    count = page.inner_text(".viewer-count").rpartition(" ")[2]
    with page.expect_download() as download:
        page.click("#save")
    assert download.value.suggested_filename == f"{PROMPT.replace(' ', '-')}-{SEED}.html"
    download.value.save_as(tmp_path / "decode.html")
    saved, said = browser.new_page(), []
    saved.on("console", lambda message: said.append(message.text))
    saved.on("pageerror", lambda error: said.append(str(error)))
    saved.goto((tmp_path / "decode.html").as_uri())
    assert saved.inner_text("h1") == PROMPT
    assert str(SEED) in saved.inner_text("#about")
    saved.keyboard.press("End")
    assert saved.inner_text(".viewer-count") == f"Step {count} of {count}"
    assert saved.inner_text(".viewer-title") == "The result"
    assert said == []
    saved.close()


def completed(**more: Any) -> str:
    content = {"type": "image_generation.completed", "b64_json": "AAAA", "output_format": "png", "size": "16x16"}
    figures = {"passes": {"target": 2, "drafters": 3}, "seconds": 0.25, **more}
    return f"event: image_generation.completed\r\ndata: {json.dumps(content | {'mulo_sd': figures})}\r\n\r\n"


def streaming(body: str) -> Callable[["Route"], None]:
    return lambda route: route.fulfill(body=body, headers={"content-type": "text/event-stream"})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (": keep-alive\r\n\r\n" + completed(), "Drawn in 5 passes and 0.25 s."),
        (completed(waited_seconds=2.0) + "data: [DONE]\n\n", "Drawn in 5 passes and 0.25 s, after waiting 2.00 s."),
        ('event: error\ndata: {"error": {"message": "deadline: too late"}}\n\n', "deadline: too late"),
        (": keep-alive\n\n", "The service ended its answer before the image was there."),
        ("data: no JSON\n\n", "The service sent what this page does not understand."),
    ],
)
def test_what_a_stream_may_end_with(body: str, said: str, page: "Page") -> None:
    page.route(IMAGES, streaming(body))
    page.click("#draw")
    page.get_by_text(said, exact=True).wait_for()
    assert page.locator("#draw").is_enabled()


def test_stop_ends_the_request(page: "Page") -> None:
    """An answer that does not come is no longer waited for."""
    page.route(IMAGES, lambda route: None)
    page.click("#draw")
    page.click("#stop")
    page.get_by_text("Stopped.", exact=True).wait_for()
    assert page.locator("#draw").is_enabled()
    assert page.locator("#stop").is_disabled()


@pytest.mark.parametrize("answer", [{"status": 502, "body": "<html>bad gateway"}, None])
def test_what_stands_before_the_service_may_answer(answer: dict[str, Any] | None, page: "Page") -> None:
    page.route(IMAGES, lambda route: route.fulfill(**answer) if answer else route.abort())
    page.click("#draw")
    said = "The service answered with status 502." if answer else "The service cannot be reached."
    page.get_by_text(said, exact=True).wait_for()


def test_a_stream_is_read_however_it_is_cut(page: "Page", service: Served) -> None:
    """At every place, line ends of every kind, comments, several lines of data, events without any."""
    events = [
        "\ufeff: hello",
        "event: a",
        "data: 1",
        "data:2",
        "",
        "event: none",
        "",
        "id: 3",
        "data",
        "",
        "data: last",
        "",
        "",
    ]
    wanted = [{"type": "a", "data": "1\n2"}, {"type": "message", "data": ""}, {"type": "message", "data": "last"}]
    read = """([text, size]) => {
        const reader = new EventReader(), events = [];
        for (let at = 0; at < text.length; at += size) events.push(...reader.take(text.slice(at, at + size)));
        return events;
    }"""
    for end in ("\n", "\r\n", "\r"):
        text = end.join(events) + (end if end == "\r" else "")
        for size in range(1, len(text) + 1):
            assert page.evaluate(read, [text + ":\n", size]) == wanted, (end, size)


def test_a_key_is_asked_for_and_kept_for_the_tab(minimal_bundle: Path, tmp_path: Path, browser: "Browser") -> None:
    """Only after the service has asked for one; a wrong one is told."""
    keys = tmp_path / "keys"
    keys.write_text("a-key-of-the-test-0123456789\n")
    arguments = [*bundle_argument("minimal", minimal_bundle), "--threads", "1", "--api-key-file", str(keys)]
    with Served(*arguments) as served:
        page = opened(browser, served.url)
        page.locator("#key").wait_for()
        assert page.inner_text("#status") == "The service asks for a key: enter it and press Use."
        page.fill("#key", "wrong")
        page.click("#use-key")
        page.locator("#status.is-error").wait_for()
        page.fill("#key", keys.read_text().strip())
        page.locator("#key").press("Enter")
        page.locator("#model option").first.wait_for(state="attached")
        draw(page)
        page.reload()
        page.locator("#model option").first.wait_for(state="attached")
        assert not page.locator("#key").is_visible()
        draw(page, seed=2)
        assert page.evaluate("JSON.stringify(localStorage)").find("a-key-of") < 0
        page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_windows(scheme: Any, browser: "Browser", service: Served) -> None:
    """Nothing has to be scrolled sideways at 320 pixels; the keys of a form are its own."""
    page = opened(browser, service.url, viewport={"width": 320, "height": 640}, color_scheme=scheme)
    page.locator("#model option").first.wait_for(state="attached")
    draw(page, seed=SEED)
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    count = page.inner_text(".viewer-count")
    page.locator("#prompt").press("Home")
    page.locator("#prompt").press("Space")
    assert page.input_value("#prompt") == f" {PROMPT}"
    assert page.inner_text(".viewer-count") == count
    page.close()
