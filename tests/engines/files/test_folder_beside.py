"""A folder beside a place: gone in the end, however the end comes."""

import os
import stat
from pathlib import Path

import pytest

from mulo_sd.engines.files.folder_beside import folder_beside


def test_gone_in_the_end(tmp_path: Path) -> None:
    """It is there for its owner alone, under a name of its own, and goes with what is in it."""
    with folder_beside(tmp_path, ".partial-") as first, folder_beside(tmp_path, ".partial-") as second:
        assert first != second
        for folder in (first, second):
            assert folder.parent == tmp_path
            assert folder.name.startswith(".partial-")
            assert len(folder.name) == len(".partial-") + 8
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            (folder / "file").write_bytes(b"x")
    assert not list(tmp_path.iterdir())


def test_moved_away(tmp_path: Path) -> None:
    """What was moved to its place stays, and so may the folder go itself."""
    with folder_beside(tmp_path, ".partial-") as folder:
        folder.rename(tmp_path / "made")
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_error_inside(error: type[BaseException], tmp_path: Path) -> None:
    with pytest.raises(error), folder_beside(tmp_path, ".partial-"):
        raise error
    assert not list(tmp_path.iterdir())


def test_interrupted_as_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal's handler may raise when the system has made the folder and nobody has its name yet."""
    make = os.mkdir

    def interrupted(path: Path, mode: int) -> None:
        make(path, mode)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "mkdir", interrupted)
    with pytest.raises(KeyboardInterrupt), folder_beside(tmp_path, ".partial-"):
        pass
    assert not list(tmp_path.iterdir())


def test_removed_as_asked(tmp_path: Path) -> None:
    """Whoever keeps some of it removes the rest."""
    removed: list[Path] = []
    with folder_beside(tmp_path, ".partial-", removed.append) as folder:
        pass
    assert removed == [folder]
    assert folder.is_dir()


def test_no_such_parent(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), folder_beside(tmp_path / "none", ".partial-"):
        pass
