"""Where a machine keeps what it has worked out."""

from pathlib import Path

import pytest

from mulo_sd.engines.files.cache_folder import cache_folder


def test_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MULO_SD_CACHE comes first, an empty one keeps nothing; else the system's folder for caches."""
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert cache_folder({}) == tmp_path / ".cache" / "mulo-sd"
    assert cache_folder({"XDG_CACHE_HOME": "relative"}) == tmp_path / ".cache" / "mulo-sd"
    assert cache_folder({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "mulo-sd"
    assert cache_folder({"MULO_SD_CACHE": "here", "XDG_CACHE_HOME": str(tmp_path)}) == Path("here")
    assert cache_folder({"MULO_SD_CACHE": ""}) is None
