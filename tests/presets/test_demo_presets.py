"""The demo's bundles and the minimal preset's large sibling, built first in a run of everything: see conftest.py."""

import os

import pytest

from tests.presets.built import check_preset

IN_CI_ALONE = pytest.mark.skipif(not os.environ.get("CI"), reason="no test needs it: with CI=1 alone")


@pytest.mark.parametrize(
    ("models", "precision"),
    [("demo", "fp32"), pytest.param("demo", "fp16", marks=IN_CI_ALONE), ("minimal-large", "fp32")],
)
def test_preset(models: str, precision: str) -> None:
    check_preset(models, precision)
