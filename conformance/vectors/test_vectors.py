"""Vectors are right for another implementation, and find one that is wrong."""

import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from mulo_sd.conformance.subject import Subject
from mulo_sd.conformance.vectors import __main__ as command
from mulo_sd.conformance.vectors.acceptance_stages import RULE_CASES, stage_of
from mulo_sd.conformance.vectors.engine_answers import ANSWERS
from mulo_sd.conformance.vectors.engine_method_answers import Inputs
from mulo_sd.conformance.vectors.folder import MANIFEST_NAME, Case, VectorsError, compare, read_arrays, read_cases
from mulo_sd.conformance.vectors.method_stages import MODES
from mulo_sd.engines.settings import Settings
from mulo_sd.reference.acceptances import ACCEPTANCES


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, minimal_subject: Subject) -> Path:
    """All vectors, written by the command."""
    path = tmp_path_factory.mktemp("vectors") / "all"
    assert run("write", "--out", str(path)) == 0
    return path


def run(*arguments: str) -> int:
    """Run the command in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["vectors", *arguments])
        return command.main()


@pytest.fixture(scope="session")
def answers(folder: Path, minimal_subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the engines answer to every case."""
    path = tmp_path_factory.mktemp("answers")
    for case in read_cases(folder):
        write(path, case, ANSWERS[case.stage](read_arrays(case.inputs), minimal_subject))
    return path


def write(path: Path, case: Case, arrays: Inputs) -> None:
    """Write one case's answers."""
    file = path / f"{case.name}.npz"
    file.parent.mkdir(exist_ok=True)
    np.savez(file, **arrays)  # type: ignore[arg-type]  # no array is named like an option of savez


def test_engines_answer_every_case(folder: Path, answers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The engines share no line with the reference that wrote the answers, and are right in every stage."""
    assert set(ANSWERS) == {case.stage for case in read_cases(folder)}
    assert run("check", "--vectors", str(folder), "--answers", str(answers)) == 0, capsys.readouterr().out


def test_the_page_counts_cases(folder: Path) -> None:
    """docs/conformance.md says how many cases there are."""
    page = Path(__file__).resolve().parents[2] / "docs" / "conformance.md"
    assert f"`write` makes {len(read_cases(folder))} cases of {len(ANSWERS)} stages" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("stage", ANSWERS)
def test_wrong_answers_are_found(
    stage: str, folder: Path, answers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One value that is off in one case ends the check with 1 and a line that says where it is."""
    chosen = [case for case in read_cases(folder) if case.stage == stage]
    for case in chosen:
        write(tmp_path, Case(**(vars(case) | {"name": case.name.replace("/", "-")})), {})  # a stranger's other files
        arrays = read_arrays(answers / f"{case.name}.npz")
        if case is chosen[1]:
            name = next(iter(case.outputs))
            value = arrays[name].copy()
            last = tuple(size - 1 for size in value.shape)
            value[last] = ~value[last] if value.dtype == np.bool_ else value[last] + 1 + (value[last] == -np.inf)
            arrays[name] = np.where(np.isinf(value), 0.0, value) if value.dtype.kind == "f" else value
        write(tmp_path, case, arrays)
    status = run("check", "--vectors", str(folder), "--answers", str(tmp_path), "--stages", stage)
    printed = capsys.readouterr().out
    assert status == 1
    assert f"{chosen[1].name}: {next(iter(chosen[1].outputs))}: " in printed
    assert f"{len(chosen) - 1} of {len(chosen)} cases right" in printed


@pytest.mark.parametrize("stage", [*map(stage_of, ACCEPTANCES), "next_guesses", "walk_tree"])
def test_rounding_changes_no_verdict(
    stage: str, folder: Path, minimal_subject: Subject, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Probabilities in float32 give the right answers, too: no case is closer to a bound than rounding reaches."""
    for case in (item for item in read_cases(folder) if item.stage == stage):
        inputs = read_arrays(case.inputs)
        inputs |= {name: inputs[name].astype(np.float32) for name in ("probs", "draft_probs")}
        write(tmp_path, case, ANSWERS[stage](inputs, minimal_subject))
    status = run("check", "--vectors", str(folder), "--answers", str(tmp_path), "--stages", stage)
    assert status == 0, capsys.readouterr().out


# Of each setting of an acceptance: another value, which differs as < from <= where the rule has a bound.
MOVES: dict[str, Callable[[float], float]] = {
    **{
        name: lambda value: float(np.nextafter(value, np.inf))
        for name in ("tau", "group_probability", "group_distance")
    },
    **{
        name: lambda value: float(np.nextafter(value, -np.inf))
        for name in ("lantern_delta", "lantern_factor", "typical_threshold")
    },
    **{name: lambda value: value + 1 for name in ("neighbours", "group", "top_beta")},
    **{name: lambda value: value - 1 for name in ("lantern_neighbours", "lantern_plus_neighbours")},
    **{name: lambda value: 1.01 * value for name in ("anneal", "anneal_rate")},
    **{name: lambda value: 0.5 * value for name in ("top_tau", "typical_factor")},
}


@pytest.mark.parametrize(
    ("acceptance", "setting"),
    [(acceptance, setting) for acceptance, cases in RULE_CASES.items() for setting in cases.smooth[0]],
)
def test_every_setting_of_an_acceptance_counts(
    acceptance: str, setting: str, folder: Path, minimal_subject: Subject
) -> None:
    """A setting that is off by the least that matters gives wrong answers: the cases meet its bound."""
    found = 0
    for case in (item for item in read_cases(folder) if item.stage == stage_of(acceptance)):
        inputs = read_arrays(case.inputs)
        with contextlib.suppress(ValidationError):  # a value at the end of its range
            moved = inputs | {setting: np.asarray(MOVES[setting](inputs[setting].item()))}
            answers = ANSWERS[case.stage](moved, minimal_subject)
            found += bool(list(compare(case, answers, read_arrays(case.answers))))
    assert found > 0


@pytest.mark.parametrize("acceptance", ACCEPTANCES)
def test_cases_of_an_acceptance_meet_both_verdicts(acceptance: str, folder: Path) -> None:
    """Of every rule there are drafts that stay for certain, drafts that never do, and residuals that are not p."""
    chances, is_p = [], []
    for case in (item for item in read_cases(folder) if item.stage == stage_of(acceptance)):
        inputs, expected = read_arrays(case.inputs), read_arrays(case.answers)
        chances += expected["chances"].tolist()
        is_p += np.isclose(expected["redrawn"], inputs["probs"]).all(axis=1).tolist()
    assert min(chances) == 0
    assert max(chances) == 1
    assert any(is_p)
    draws_from_p = acceptance in ("pooled", "top-beta-sampled", "typical")
    assert all(is_p) == draws_from_p


def test_trees_judge_siblings_by_what_is_left(folder: Path) -> None:
    """Some sibling behind a rejected one stays with a chance between 0 and 1: p and q without the first one count."""
    chances: list[float] = []
    decided = set()
    for case in (item for item in read_cases(folder) if item.stage == "walk_tree"):
        inputs, expected = read_arrays(case.inputs), read_arrays(case.answers)
        parents = inputs["parents"][expected["judged"]]
        is_later = np.append(False, parents[1:] == parents[:-1])[: len(parents)]
        is_drawn = inputs["draft_probs"].max(initial=0) < 1
        chances += expected["chances"][is_later & is_drawn].tolist()
        decided.add(len(expected["decided"]))
    assert any(0 < chance < 1 for chance in chances)
    assert decided >= {1, 2, 3, 4}


def test_whole_decodes_meet_what_their_method_is_about(folder: Path) -> None:
    """Windows and trees of which some drafts stay and some do not, several rows at once, a head and a block drafter."""
    answers = {}
    for case in (item for item in read_cases(folder) if item.stage == "decode_method"):
        mode = json.loads(read_arrays(case.inputs)["settings"].tobytes())["mode"]
        answers[mode] = read_arrays(case.answers)
    assert set(answers) == set(MODES)
    for mode in ("sjd", "sjd-maximal", "pjd", "eagle", "specdec", "ssd"):
        windows = answers[mode]["windows"]
        of_target = windows[windows[:, 0] == 0]
        drafted, kept, decided = of_target[:, 4], of_target[:, 5], of_target[:, 6]
        assert 0 < kept.sum() < drafted.sum(), mode
        assert decided.sum() == answers[mode]["tokens"].size, mode
    for mode in ("eagle-tree", "lantern-plus"):
        _, nodes, judged, decided = answers[mode]["trees"].T
        assert decided.max() > 1
        assert 0 < judged.sum() < nodes.sum()
        assert decided.sum() == answers[mode]["tokens"].size
    passes = answers["pjd"]["windows"][:, 1]
    assert np.bincount(passes).max() > 1
    assert all(
        (answers[mode]["nfe"][3] > 0) == Settings.model_validate({"mode": mode}).decoding.has_head for mode in MODES
    )
    assert all(
        (answers[mode]["nfe"][4] > 0) == (Settings.model_validate({"mode": mode}).decoding.draft == "block")
        for mode in MODES
    )


def test_missing_and_misshapen_answers_are_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A case without a file, without an array, of another shape or of objects is wrong, each in one line."""
    first, second, third, *_ = [case for case in read_cases(folder) if case.stage == "anchor"]
    write(tmp_path, first, {"bonus": np.zeros((2, 2))})
    write(tmp_path, second, {"other": np.zeros(3)})
    write(tmp_path, third, {"bonus": np.array([{}], dtype=object)})
    assert run("check", "--vectors", str(folder), "--answers", str(tmp_path), "--stages", "anchor") == 1
    printed = capsys.readouterr().out
    for expected in ("expected the shape [10, 40], got [2, 2]", "bonus: expected an array, got none", "found none"):
        assert expected in printed
    assert "npz file of plain arrays" in printed
    assert "0 of 4 cases right" in printed


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda manifest: manifest | {"format_version": 99}, "expected format version 3, got 99"),
        (
            lambda manifest: manifest | {"cases": [manifest["cases"][0] | {"answers": "../../etc/passwd"}]},
            "paths inside the folder",
        ),
        (lambda manifest: {"format_version": 3}, "expected a manifest of vectors"),
        (
            lambda manifest: manifest | {"cases": [manifest["cases"][0] | {"stage": "nonsense"}]},
            "expected a manifest of vectors",
        ),
        (
            lambda manifest: manifest | {"cases": [manifest["cases"][0] | {"answers_sha256": "0"}]},
            "not the file of the manifest",
        ),
        (lambda manifest: manifest | {"cases": []}, "expected cases, got none"),
        (lambda manifest: [], "expected a manifest of vectors"),
    ],
)
def test_broken_folders_are_refused(
    change: Callable[[Any], Any], expected: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A manifest that is none, leaves its folder or names other files ends the command with one line."""
    manifest = json.loads((folder / MANIFEST_NAME).read_text())
    (tmp_path / "inputs").symlink_to(folder / "inputs")
    (tmp_path / "answers").symlink_to(folder / "answers")
    (tmp_path / MANIFEST_NAME).write_text(json.dumps(change(manifest)))
    assert run("check", "--vectors", str(tmp_path), "--answers", str(folder / "answers")) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert len(error.splitlines()) == 1


def test_an_existing_folder_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command writes into new folders only."""
    (tmp_path / "mine.txt").write_text("mine")
    assert run("write", "--functions-only", "--out", str(tmp_path)) == 2
    assert "expected a new folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_same_vectors_every_time(folder: Path, tmp_path: Path) -> None:
    """Inputs and answers are the same in every run."""
    assert run("write", "--functions-only", "--out", str(tmp_path / "again")) == 0
    again = {case.name: case.answers_sha256 for case in read_cases(tmp_path / "again")}
    assert again.items() <= {case.name: case.answers_sha256 for case in read_cases(folder)}.items()


def test_large_arrays_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an archive says of its size is looked at before it is unpacked."""
    np.savez_compressed(tmp_path / "large.npz", zeros=np.zeros(2**16))
    monkeypatch.setattr("mulo_sd.conformance.vectors.folder.MAX_ARRAY_BYTES", 2**10)
    with pytest.raises(VectorsError, match="expected arrays of at most 1024 bytes"):
        read_arrays(tmp_path / "large.npz")
