"""A pipeline that draws in milliseconds, and a browser."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mulo_sd import engines
from mulo_sd.engines.service.pipeline import Pipeline

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def pipeline(minimal_bundle: Path) -> Pipeline:
    """Of the minimal bundle: grids of 8 x 8, 4 x 4 and 2 x 2 cells."""
    return engines.load(minimal_bundle, threads=1)


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Chromium, one for a file."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright, which drives a browser, is not installed")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not installed")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()
