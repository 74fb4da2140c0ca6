"""Whether Ray is told to ask for a token: always where a cluster begins here."""

import os
from pathlib import Path

import pytest

from mulo_sd.engines.cluster.token import take_token

VARIABLES = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without a token."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # so that it is put back, whatever sets it
        monkeypatch.delenv(name)
    return tmp_path


def mode() -> str | None:
    return os.environ.get("RAY_AUTH_MODE")


def test_a_cluster_that_begins_here_asks(home: Path) -> None:
    assert not (home / ".ray").exists()
    take_token(None)
    assert mode() == "token"


@pytest.mark.usefixtures("home")
def test_a_cluster_without_one_is_joined_without() -> None:
    take_token("192.0.2.7:6379")
    assert mode() is None


@pytest.mark.parametrize("where", ["file", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"])
def test_ours_is_shown(where: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if where == "file":
        (home / ".ray").mkdir()
        (home / ".ray" / "auth_token").write_text("secret", encoding="utf-8")
    else:
        monkeypatch.setenv(where, "secret")
    take_token("auto")
    assert mode() == "token"


@pytest.mark.usefixtures("home")
def test_what_the_user_said_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    take_token(None)
    assert mode() == "disabled"
