"""The minimal presets' bundles, built first in a run of everything: see conftest.py."""

import pytest

from tests.presets.built import check_preset


@pytest.mark.parametrize(
    ("models", "precision"), [("minimal", "fp32"), ("minimal", "fp16"), ("minimal-oblong", "fp32")]
)
def test_preset(models: str, precision: str) -> None:
    check_preset(models, precision)
