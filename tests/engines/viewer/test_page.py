"""The pages: what is drawn stays data in them, they need nothing else, and only their own code runs."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from mulo_sd.engines.viewer.page import app_html, viewer_html
from mulo_sd.engines.viewer.policy import content_security_policy

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "]]> --> <img src=x onerror=alert(1)>",
    "\u2028\u2029 & &lt;/script&gt; \\u003c $& $1 '\"`",
    "DATA-OF-THE-DECODE REPLAY-PAGE STYLES SCRIPTS CONTENT-POLICY",
    "\ud800 \x00 \U0001f600",
]
# Ways to something that is not in the page; `//` begins a comment, too.
OUTSIDE = re.compile(
    r"https?:|(?:src|href|action)\s*=\s*[\"']?//|url\(|@import|\bimport\s*\(|import .* from|sourceMappingURL"
)


class Elements(HTMLParser):
    """The scripts and styles of a page as a browser sees them, and every attribute."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.texts: dict[str, list[str]] = {"script": [], "style": [], "data": []}
        self.attributes: list[tuple[str, str, str | None]] = []
        self._inside = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag in ("script", "style"):
            self._inside = "data" if ("type", "application/json") in attrs else tag
            self.texts[self._inside].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.texts[self._inside][-1] += data


def pages() -> dict[str, str]:
    return {"replay": viewer_html({"prompt": "a star", "frames": []}), "app": app_html()}


@pytest.mark.parametrize("prompt", HOSTILE)
def test_a_prompt_stays_data(prompt: str) -> None:
    html = viewer_html({"prompt": prompt, "seed": 3, "settings": {prompt: [prompt]}, "frames": []})
    html.encode()
    elements, plain = Elements(html), Elements(viewer_html({"prompt": "", "frames": []}))
    assert elements.attributes == plain.attributes
    assert elements.texts["script"] == plain.texts["script"]
    (data,) = elements.texts["data"]
    assert json.loads(data) == {"prompt": prompt, "seed": 3, "settings": {prompt: [prompt]}, "frames": []}
    assert not set("<>&\u2028\u2029") & set(data)


def test_numbers_that_javascript_would_round_are_texts() -> None:
    numbers = {"seed": 2**64 - 1, "settings": {"exact": 2**53, "beyond": [2**53 + 1, -(2**63)]}}
    (data,) = Elements(viewer_html(numbers)).texts["data"]
    assert json.loads(data) == {
        "seed": "18446744073709551615",
        "settings": {"exact": 2**53, "beyond": ["9007199254740993", "-9223372036854775808"]},
    }
    with pytest.raises(ValueError, match="Out of range float values"):
        viewer_html({"stats": {"seconds": float("nan")}})


@pytest.mark.parametrize("name", ["replay", "app"])
def test_a_page_needs_nothing_else(name: str) -> None:
    html = pages()[name]
    assert OUTSIDE.findall(html) == []
    for tag, attribute, value in Elements(html).attributes:
        assert not attribute.startswith("on"), f"{tag} {attribute}"
        assert attribute not in ("style", "src", "action"), f"{tag} {attribute}"
        assert attribute != "href" or value == "data:,"
    assert not re.search(r"\beval\(|new Function|document\.write|insertAdjacentHTML|outerHTML", html)


@pytest.mark.parametrize("name", ["replay", "app"])
def test_the_policy_names_the_pages_own_scripts_and_styles(name: str) -> None:
    html = pages()[name]
    elements = Elements(html)
    policy = dict(part.split(" ", 1) for part in content_security_policy(html).split("; "))
    for directive, texts in (("script-src", elements.texts["script"]), ("style-src", elements.texts["style"])):
        hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
        assert len(hashes) == 1
        assert policy.pop(directive) == f"'sha256-{hashes[0]}'"
    assert policy == {
        "default-src": "'none'",
        "img-src": "data: blob: 'self'",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }


def test_a_page_on_a_disk_brings_its_policy() -> None:
    """All of it but what only a server may say."""
    html = viewer_html({"frames": []})
    said = [value for tag, name, value in Elements(html).attributes if (tag, name) == ("meta", "content")]
    assert f"{said[0]}; frame-ancestors 'none'" == content_security_policy(html)


def test_the_services_page_holds_the_page_that_replays() -> None:
    """With a place for a decode, once: the browser fills it as `viewer_html` does."""
    elements = Elements(app_html())
    (data,) = elements.texts["data"]
    page: Any = json.loads(data)
    assert page.count("DATA-OF-THE-DECODE") == 1
    assert page.replace("DATA-OF-THE-DECODE", '{"frames":[]}') == viewer_html({"frames": []})
