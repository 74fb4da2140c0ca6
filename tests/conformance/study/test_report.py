"""Tables, results and claims say what the rows say."""

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mulo_sd.conformance.study.claim import Claim
from mulo_sd.conformance.study.claims import CLAIMS, claims_of
from mulo_sd.conformance.study.report import csv_text, table_text, write_report
from mulo_sd.conformance.study.rows import Row, pack_tokens
from mulo_sd.conformance.study.summary import Results, lines_of_section
from mulo_sd.conformance.study.variant import Variant
from mulo_sd.conformance.study.variants import FINE_ACCEPTED, variants_of
from mulo_sd.engines.prompts.vocabulary import TASKS

MakeRows = Callable[..., list[Row]]
MakeResults = Callable[[list[Row], dict[str, float]], Results]
CONTROLS = variants_of(["controls"])
COUNT = 240


def ar(make_rows: MakeRows, holds: list[bool]) -> list[Row]:
    return make_rows("AR", holds, nfe_target=1024, nfe_drafter=0, acceptance_rate=1.0, seconds=8.0)


def claims(results: Results) -> list[Claim]:
    """Return the claims about the default settings."""
    return claims_of(results)[: len(CLAIMS)]


def test_line_compares_with_ar_over_the_same_prompts(make_rows: MakeRows, make_results: MakeResults) -> None:
    rows = ar(make_rows, [True] * 14) + make_rows("default", [True] * 9 + [False] * 3)
    lines = lines_of_section(CONTROLS, make_results(rows, {"controls/default": 0.5}))
    assert [line.variant for line in lines] == ["AR", "default"]
    default = lines[1]
    assert default.images == 12
    assert default.score.value == 0.75
    assert default.ar_score == 1.0
    assert default.score_difference is not None
    assert default.score_difference.value == -0.25
    assert default.encoder_frechet is not None
    assert default.encoder_frechet.value == pytest.approx(4 * 0.5**2)
    assert default.encoder_frechet_unpaired is None
    assert default.nfe == 150
    assert (default.speed_up, default.timed) == (4.0, 12)


def test_equal_images_are_those_of_ar_token_for_token(make_rows: MakeRows, make_results: MakeResults) -> None:
    rows = ar(make_rows, [True] * 12) + make_rows("default", [True] * 9)
    rows[12:15] = [replace(row, tokens=pack_tokens(np.array([[0, 1, 2], [3, 4, 6]]))) for row in rows[12:15]]
    lines = lines_of_section(CONTROLS, make_results(rows, {}))
    assert [(line.variant, line.equal_images) for line in lines] == [("AR", 1.0), ("default", 6 / 9)]
    without_ar = lines_of_section(CONTROLS, make_results(make_rows("default", [True] * 3), {}))
    assert [line.equal_images for line in without_ar] == [None]
    read = list(csv.DictReader(io.StringIO(csv_text(lines + without_ar, TASKS))))
    assert [line["equal_images"] for line in read] == ["1.0", str(6 / 9), ""]


def test_unpaired_distance_is_to_the_other_seeds(make_rows: MakeRows, make_results: MakeResults) -> None:
    rows = ar(make_rows, [True] * 12) + make_rows("default", [True] * 12) + make_rows("AR, other seeds", [True] * 12)
    shifts = {"controls/default": 0.5, "controls/AR, other seeds": 1.5}
    found = {
        line.variant: line.encoder_frechet_unpaired for line in lines_of_section(CONTROLS, make_results(rows, shifts))
    }
    assert {name: pytest.approx(item.value) for name, item in found.items() if item} == {
        "AR": 9.0,
        "default": 4.0,
        "AR, other seeds": 0.0,
    }


def test_speed_up_leaves_out_what_was_drawn_in_batches(make_rows: MakeRows, make_results: MakeResults) -> None:
    base = ar(make_rows, [True] * 6)
    batched = make_rows("AR", [True] * 12, nfe_target=1024, nfe_drafter=0, seconds=None, batched=True)[6:]
    rows = base + batched + make_rows("default", [True] * 12)
    lines = lines_of_section(CONTROLS, make_results(rows, {}))
    assert [(line.speed_up, line.timed, line.images) for line in lines] == [(1.0, 6, 12), (4.0, 6, 12)]


def test_table_and_csv_hold_the_figures(make_rows: MakeRows, make_results: MakeResults) -> None:
    rows = ar(make_rows, [True] * 12) + make_rows("default", [True] * 9 + [False] * 3)
    lines = lines_of_section(CONTROLS, make_results(rows, {}))
    table = table_text(lines).splitlines()
    assert "Over 12 prompts" in table[2]
    cells = [cell.strip() for cell in table[-1].strip("|").split("|")]
    assert cells[0] == "default"
    assert cells[1].startswith("75.0 (46.8 to 91.1")
    assert cells[2].startswith("-25.0 (")
    assert cells[4:] == ["-", "90.0", "20.0", "100", "100.0", "50.0", "150.0", "2.00", "4.00 (12)"]
    assert len({line.count("|") for line in table[4:]}) == 1
    read = list(csv.DictReader(io.StringIO(csv_text(lines, TASKS))))
    assert [line["variant"] for line in read] == ["AR", "default"]
    assert float(read[1]["score"]) == 0.75
    assert read[1]["encoder_frechet_unpaired"] == ""
    assert (float(read[1]["score_two_object"]), float(read[1]["score_position"])) == (1.0, 0.5)


def test_controls_stand_beside_every_section(make_rows: MakeRows, make_results: MakeResults) -> None:
    rows = ar(make_rows, [True] * 12) + make_rows("default", [True] * 12)
    rows += make_rows("everything accepted", [True] * 11 + [False]) + make_rows("oracle, default", [True] * 3)
    rows += make_rows("anchor 2, radius 2", [True] * 6, section="anchor")
    lines = lines_of_section(variants_of(["anchor"]), make_results(rows, {}))
    # The oracle has fewer prompts than the section and does not take any from it.
    assert [(line.variant, line.images) for line in lines] == [
        ("AR", 6),
        ("default", 6),
        ("everything accepted", 6),
        ("anchor 2, radius 2", 6),
    ]
    assert {line.section for line in lines} == {"anchor"}


def test_section_without_rows_has_no_table(make_rows: MakeRows, make_results: MakeResults) -> None:
    rows = ar(make_rows, [True] * 6) + make_rows("default", [True] * 6)
    assert lines_of_section([Variant("x", "anchor")], make_results(rows, {})) == []


def test_claims_hold_where_the_numbers_say_so(make_rows: MakeRows, make_results: MakeResults) -> None:
    every = [True] * COUNT
    worse = [number % 2 == 0 for number in range(COUNT)]
    rows = ar(make_rows, every) + make_rows("default", every)
    rows += make_rows("ZipAR, window 3", worse, nfe_target=125, nfe_drafter=0)
    rows += make_rows("ZipAR, window 4", worse, nfe_target=156, nfe_drafter=0)
    rows += make_rows("everything accepted", every) + make_rows(FINE_ACCEPTED, every)
    rows += make_rows("drafters 1", every, section="cascade") + make_rows("drafters 2", every, "cascade", nfe_target=90)
    rows += make_rows("oracle, default", every) + make_rows("oracle, everything accepted", every)
    # Everything accepted scores as well but lies farther from AR.
    results = make_results(rows, {"controls/everything accepted": 1.0, f"controls/{FINE_ACCEPTED}": 1.0})
    assert [claim.verdict for claim in claims(results)] == ["holds"] * 5
    assert [fact for fact in claims(results)[1].facts if fact.endswith(": holds")] == [
        "ZipAR, window 3: holds",
        "ZipAR, window 4: holds",
    ]
    assert "total passes: 150.0" in claims(results)[0].facts[2]


def test_claims_fail_where_the_numbers_say_so(make_rows: MakeRows, make_results: MakeResults) -> None:
    every = [True] * COUNT
    worse = [number % 2 == 0 for number in range(COUNT)]
    rows = ar(make_rows, every) + make_rows("default", worse)
    rows += make_rows("ZipAR, window 3", worse, nfe_target=125, nfe_drafter=0)
    rows += make_rows("ZipAR, window 4", every, nfe_target=156, nfe_drafter=0)
    rows += make_rows("everything accepted", worse) + make_rows(FINE_ACCEPTED, every)
    rows += make_rows("drafters 1", every, section="cascade") + make_rows("drafters 2", worse, "cascade", nfe_target=90)
    rows += make_rows("oracle, default", worse) + make_rows("oracle, everything accepted", every)
    found = claims(make_results(rows, {"controls/default": 0.5, "controls/everything accepted": 1.0}))
    assert [claim.verdict for claim in found] == ["does not hold"] * 5
    assert "120 of 240 prompts hold against 240: 50.0%" in found[4].facts


def test_few_prompts_prove_no_score_near_that_of_ar(make_rows: MakeRows, make_results: MakeResults) -> None:
    rows = ar(make_rows, [True] * 60) + make_rows("default", [True] * 60)
    assert claims(make_results(rows, {}))[0].verdict == "does not hold"


def test_claims_without_rows_are_not_measured(make_rows: MakeRows, make_results: MakeResults) -> None:
    found = claims(make_results(make_rows("default", [True] * 6), {}))
    assert [claim.verdict for claim in found] == ["not measured"] * 5


def test_report_writes_its_files(tmp_path: Path, make_rows: MakeRows, make_results: MakeResults) -> None:
    rows = ar(make_rows, [True] * 12) + make_rows("default", [True] * 11 + [False])
    written = write_report(variants_of(), make_results(rows, {}), ["exact: why"], tmp_path)
    assert sorted(path.name for path in written) == ["claims.md", "controls.png", "results.csv", "tables.md"]
    assert sorted(tmp_path.iterdir()) == sorted(written)
    assert (tmp_path / "controls.png").read_bytes().startswith(b"\x89PNG")
    assert "- exact: why" in (tmp_path / "tables.md").read_text()
    assert (tmp_path / "claims.md").read_text().count("\n## ") == 10
