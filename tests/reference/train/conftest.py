"""What tests of runs share."""

import pytest

from mulo_sd.reference.train import run


@pytest.fixture
def no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Curves take far longer than a tiny step."""
    monkeypatch.setattr(run, "draw_curves", lambda rows, path: None)
