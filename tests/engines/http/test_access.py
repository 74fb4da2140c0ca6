"""API keys: a file of them, and who may ask."""

from pathlib import Path

import pytest

from mulo_sd.engines.http.access import Access, read_keys
from mulo_sd.engines.ingress.errors import ApiError
from mulo_sd.engines.numbers import SettingsError

KEYS = ("a-key-of-sixteen", "another-key-of-more")


def test_a_file_of_keys(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# of the team\n\n{KEYS[0]}\r\n  {KEYS[1]}\n")
    access = read_keys(path)
    assert access.needs_key
    for key in KEYS:
        access.check(f"Bearer {key}")
        access.check(f"bearer   {key} ")


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", f"Basic {KEYS[0]}", f"Bearer {KEYS[0]}x", KEYS[0], "Bearer \xfc"]
)
def test_others_are_refused(header: str | None) -> None:
    with pytest.raises(ApiError) as refused:
        Access(KEYS).check(header)
    assert (refused.value.status, refused.value.code) == (401, "invalid_api_key")
    assert refused.value.headers == {"www-authenticate": "Bearer"}
    assert KEYS[0] not in str(refused.value)


def test_without_keys_all_may_ask() -> None:
    Access().check(None)
    assert not Access().needs_key


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# nothing\n", "expected a key a line, got none"),
        ("t.i.n\n", "line 1: expected a key of 16 or more visible ASCII characters, got 5"),
        ("ok-ok-ok-ok-ok-ok-ok\ntwo words are no key\n", "line 2: expected a key"),
    ],
)
def test_a_bad_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "keys"
    path.write_text(text)
    with pytest.raises(SettingsError, match="api-key-file") as refused:
        read_keys(path)
    assert message in str(refused.value)
    assert text.splitlines()[-1] not in str(refused.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="expected a file of keys, found none"):
        read_keys(tmp_path / "none")
