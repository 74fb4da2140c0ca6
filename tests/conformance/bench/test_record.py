"""A benchmark's folder: its own results are written anew, files of others stay."""

from pathlib import Path

import pytest

from mulo_sd.conformance.bench.errors import BenchError
from mulo_sd.conformance.bench.record import RECORD_NAME, Record

FIGURES = ("modes.png",)


@pytest.mark.parametrize(
    ("name", "text"), [("modes.png", "mine"), (RECORD_NAME, "mine"), (RECORD_NAME, '{"schema": 1}')]
)
def test_files_of_others_stay(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(BenchError, match=f"--out: expected no files but a benchmark's, found .*{name}"):
        Record(tmp_path, [], FIGURES)
    assert (tmp_path / name).read_text() == text


def test_own_results_are_written_anew(tmp_path: Path) -> None:
    for number in range(2):
        record = Record(tmp_path, [], FIGURES)
        record.set("number", number)
        record.write_figure("modes.png", b"figure %d" % number)
    assert (tmp_path / "modes.png").read_bytes() == b"figure 1"
    assert '"number": 1' in (tmp_path / RECORD_NAME).read_text()
