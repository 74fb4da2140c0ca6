"""Rows survive a stopped run: a torn last line is cut off, what is there is not drawn again."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mulo_sd.conformance.study.draw import plan_jobs, seed_of
from mulo_sd.conformance.study.report import report_names
from mulo_sd.conformance.study.rows import (
    ROWS_NAME,
    Row,
    RowLog,
    StudyError,
    check_folder,
    pack_tokens,
    read_rows,
    sole_writer,
    unpack_tokens,
)
from mulo_sd.conformance.study.variant import Variant
from mulo_sd.conformance.study.variants import AR, OTHER_SEEDS, SECTIONS
from mulo_sd.conformance.worlds.world import HeldOut
from mulo_sd.engines.prompts.vocabulary import TASKS

MakeRows = Callable[..., list[Row]]


def write(rows: list[Row], folder: Path) -> Path:
    with RowLog(folder) as log:
        for row in rows:
            log.add(row)
    return folder / ROWS_NAME


def test_tokens_come_back() -> None:
    tokens = np.random.default_rng(0).integers(0, 2**15, size=(32, 16))
    assert np.array_equal(unpack_tokens(pack_tokens(tokens), 32, 16), tokens)
    with pytest.raises(ValueError, match="tokens"):
        pack_tokens(np.array([[2**15]]))


def test_torn_last_line_is_cut_off_and_drawn_again(tmp_path: Path, make_rows: MakeRows) -> None:
    rows = make_rows("default", [True, False, True])
    path = write(rows, tmp_path)
    path.write_bytes(path.read_bytes()[:-40])
    assert read_rows(tmp_path) == rows[:2]
    write(rows[2:], tmp_path)
    assert read_rows(tmp_path) == rows


def test_last_line_without_its_end_is_torn_too(tmp_path: Path, make_rows: MakeRows) -> None:
    rows = make_rows("default", [True, False])
    path = write(rows, tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    assert read_rows(tmp_path) == rows[:1]
    assert path.read_bytes().endswith(b"}\n")


@pytest.mark.parametrize("line", ["{}", "no json", '{"identity": 3}', "[]"])
def test_broken_line_inside_is_refused_by_number(tmp_path: Path, make_rows: MakeRows, line: str) -> None:
    path = write(make_rows("default", [True]), tmp_path)
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(StudyError, match=r"rows\.jsonl, line 2: expected a row"):
        read_rows(tmp_path)


def test_empty_grid_is_refused(tmp_path: Path, make_rows: MakeRows) -> None:
    path = write(make_rows("default", [True]), tmp_path)
    content = json.loads(path.read_text()) | {"tokens": ""}
    path.write_text(json.dumps(content) + "\n")
    with pytest.raises(StudyError, match="line 1"):
        read_rows(tmp_path)


def test_no_folder_holds_no_rows(tmp_path: Path) -> None:
    assert read_rows(tmp_path / "none") == []


LISTED = [("a", Variant(AR, "controls")), ("f", Variant(OTHER_SEEDS, "controls", other_seeds=True))]
LISTED += [("d", Variant("default", "controls"))]


def test_what_is_there_is_not_drawn_again() -> None:
    jobs = plan_jobs(LISTED, 6, 2, 2, set())
    keys = [(name, *where) for name, item in LISTED for job in jobs if job.variant is item for where in job.scenes]
    assert len(keys) == len(set(keys)) == 3 * 12
    left = plan_jobs(LISTED, 6, 2, 2, set(keys[1:]))
    assert [(job.variant.name, job.scenes) for job in left] == [(AR, ((0, 0),))]


def test_ar_beyond_the_timed_prompts_is_batched() -> None:
    jobs = plan_jobs(LISTED, 6, 10, 1, set())
    batched = [(job.variant.name, len(job.scenes)) for job in jobs if job.batched]
    assert batched == [(AR, 40), (AR, 14), (OTHER_SEEDS, 40), (OTHER_SEEDS, 20)]
    timed = [job.scenes[0] for job in jobs if job.variant.name == AR and not job.batched]
    assert timed == [(task, 0) for task in range(6)]


def test_more_prompts_leave_the_first_ones_as_they_are() -> None:
    few = {(job.variant.name, where) for job in plan_jobs(LISTED, 6, 2, 0, set()) for where in job.scenes}
    many = {(job.variant.name, where) for job in plan_jobs(LISTED, 6, 5, 0, set()) for where in job.scenes}
    assert few < many


def test_seeds_differ_between_scenes_but_not_between_variants() -> None:
    drawn = [
        HeldOut(TASKS[task], task, index, "", None, lambda size: np.zeros((size, size, 3), dtype=np.uint8))
        for task in range(6)
        for index in range(1000)
    ]
    assert len({seed_of(item, LISTED[0][1]) for item in drawn}) == 6000
    assert seed_of(drawn[5003], LISTED[0][1]) == 5003
    assert [seed_of(item, LISTED[2][1]) for item in drawn] == [seed_of(item, LISTED[0][1]) for item in drawn]
    assert not {seed_of(item, LISTED[1][1]) for item in drawn} & {seed_of(item, LISTED[0][1]) for item in drawn}


def test_second_run_waits_outside_until_the_first_is_done(tmp_path: Path) -> None:
    with sole_writer(tmp_path), pytest.raises(StudyError, match="no other study"), sole_writer(tmp_path):
        pass
    with sole_writer(tmp_path):
        pass


@pytest.mark.parametrize("text", ["a note", '{"identity', '{"id": 1}', ""])
def test_a_file_of_somebody_else_is_not_cut(text: str, tmp_path: Path) -> None:
    """One line without an end is torn only where it begins as rows do."""
    path = tmp_path / ROWS_NAME
    path.write_text(text)
    if text in ("", '{"identity'):
        assert read_rows(tmp_path) == []
        assert path.read_text() == ""
    else:
        with pytest.raises(StudyError, match=r"rows\.jsonl: expected rows of a study, got something else"):
            read_rows(tmp_path)
        assert path.read_text() == text


@pytest.mark.parametrize("name", ["claims.md", "controls.png", ".lock"])
def test_a_study_begins_in_no_folder_of_others(name: str, tmp_path: Path, make_rows: MakeRows) -> None:
    """What a report would write over is named; a folder that holds rows is a study's."""
    names = report_names(tuple(SECTIONS))
    check_folder(tmp_path / "new", names)
    (tmp_path / name).write_text("mine")
    with pytest.raises(StudyError, match="--out: expected no files but a study's, found"):
        check_folder(tmp_path, names)
    write(make_rows("default", [True]), tmp_path)
    check_folder(tmp_path, names)
