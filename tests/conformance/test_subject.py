"""Whose weights a bundle has: known models are found without further telling, where they are installed."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mulo_sd.conformance.subject import KNOWN_MODELS, SubjectError, _models_of, _pictograms, hashes_of
from mulo_sd.reference.pictograms import shipped


def pipeline(hashes: list[str]) -> Any:
    """Return what is asked of a pipeline: its bundle's path, and the hashes of its weights."""
    entries = [SimpleNamespace(weights_sha256=value) for value in hashes]
    bundle = SimpleNamespace(
        path=Path("own"), manifest=SimpleNamespace(models=entries), rebuild=lambda: "build it again"
    )
    return SimpleNamespace(bundle=bundle)


@pytest.mark.parametrize("name", ["minimal", "pictograms"])
def test_known_models_are_found_by_their_weights(name: str) -> None:
    hashes = hashes_of(KNOWN_MODELS[name]())
    assert hashes_of(_models_of(pipeline(hashes), None)) == hashes


def test_models_that_are_not_installed_are_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shipped, "SHIPPED", tmp_path / "weights")
    _pictograms.cache_clear()
    with pytest.raises(SubjectError, match=r"^own: expected the weights of minimal or .*, got others"):
        _models_of(pipeline(["somebody's"]), None)
