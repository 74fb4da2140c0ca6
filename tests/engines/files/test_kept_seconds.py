"""Seconds on disk: what is wrong with the file is as good as no file, and nothing of it reaches a decode."""

import json
from pathlib import Path

import pytest

from mulo_sd.engines.files import kept_seconds
from mulo_sd.engines.files.kept_seconds import MAX_BYTES, NAME, KeptSeconds

KEYS = [f"{number:064x}" for number in range(9)]
SECONDS = {1: 0.001, 64: 0.01}


def test_what_was_measured_is_read_again(tmp_path: Path) -> None:
    """By its key, from a folder that is made, beside what was measured before."""
    kept = KeptSeconds(tmp_path / "made" / "here")
    assert kept.read(KEYS[0]) is None
    assert kept.write(KEYS[0], SECONDS)
    assert kept.write(KEYS[1], {2: 0.5})
    again = KeptSeconds(tmp_path / "made" / "here")
    assert (again.read(KEYS[0]), again.read(KEYS[1]), again.read(KEYS[2])) == (SECONDS, {2: 0.5}, None)
    assert [path.name for path in (tmp_path / "made" / "here").iterdir()] == [NAME], "no partial file is left"


def test_a_measurement_replaces_its_own(tmp_path: Path) -> None:
    kept = KeptSeconds(tmp_path)
    for seconds in (SECONDS, {1: 0.25}):
        assert kept.write(KEYS[0], seconds)
    assert kept.read(KEYS[0]) == {1: 0.25}


def test_the_oldest_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file stays small."""
    monkeypatch.setattr(kept_seconds, "MAX_MEASUREMENTS", 3)
    kept = KeptSeconds(tmp_path)
    for key in (*KEYS[:4], KEYS[2], KEYS[4]):
        assert kept.write(key, SECONDS)
    assert [key for key in KEYS if kept.read(key)] == [KEYS[2], KEYS[3], KEYS[4]]


def test_a_full_file_can_be_read(tmp_path: Path) -> None:
    """As many measurements as a file takes, of as many numbers as one takes, fit into what is read."""
    measurement = dict.fromkeys(range(2**20 - 32, 2**20), 0.1234567890123456)
    content = {"version": 1, "measurements": {f"{n:064x}": measurement for n in range(kept_seconds.MAX_MEASUREMENTS)}}
    assert len(json.dumps(content, indent=1)) < MAX_BYTES


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b"[" * 10**5,
        b'{"version": 2, "measurements": {}}',
        *(
            json.dumps({"version": 1, "measurements": {KEYS[0]: measurement}}).encode()
            for measurement in ({}, {"1": 0}, {"1": -1}, {"1": "fast"}, {"0": 1}, {"one": 1}, {"1": 1e9}, None, [1])
        ),
        b'{"version": 1, "measurements": {"%s": {"1": NaN}}}' % KEYS[0].encode(),
        b'{"version": 1, "measurements": {"../x": {"1": 1}}}',
        b'{"version": 1, "measurements": {"%s": {"1": 1}}}' % KEYS[0].encode() + b" " * MAX_BYTES,
    ],
)
def test_files_from_outside(content: bytes, tmp_path: Path) -> None:
    """Damaged, foreign, too large or of another version: as good as none, and replaced."""
    (tmp_path / NAME).write_bytes(content)
    kept = KeptSeconds(tmp_path)
    assert kept.read(KEYS[0]) is None
    assert kept.write(KEYS[0], SECONDS)
    assert kept.read(KEYS[0]) == SECONDS


def test_nowhere_to_write(tmp_path: Path) -> None:
    """No folder, a file in its place, or seconds that are none: nothing is written and nothing raised."""
    (tmp_path / "file").write_bytes(b"")
    for folder in (None, tmp_path / "file", tmp_path / "file" / "below"):
        kept = KeptSeconds(folder)
        assert not kept.write(KEYS[0], SECONDS)
        assert kept.read(KEYS[0]) is None
    assert not KeptSeconds(tmp_path).write(KEYS[0], {1: float("nan")})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
