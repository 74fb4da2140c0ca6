"""The Content-Security-Policy of a page: its own scripts and styles run, by their hashes, and nothing else."""

import base64
import hashlib
import re

# Data in `<script type="application/json">` does not run, and needs no hash.
_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)


def _sources(elements: re.Pattern[str], html: str) -> str:
    hashes = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii") for text in elements.findall(html)
    ]
    return " ".join(f"'sha256-{item}'" for item in hashes) or "'none'"


def content_security_policy(html: str) -> str:
    """Return the header that a server sends with a page of `page`."""
    return f"{policy_in_page(html)}; frame-ancestors 'none'"


def policy_in_page(html: str) -> str:
    """Return what a page can say itself, in a `<meta>` element, where there is no server."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_sources(_SCRIPT, html)}",
            f"style-src {_sources(_STYLE, html)}",
            "img-src data: blob: 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
