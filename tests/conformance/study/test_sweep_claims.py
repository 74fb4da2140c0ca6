"""What is claimed of sweeps, held against numbers that a test chooses."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mulo_sd.conformance.study.claim import Claim
from mulo_sd.conformance.study.claims import CLAIMS, claims_of
from mulo_sd.conformance.study.goals import GOALS
from mulo_sd.conformance.study.rows import Row, pack_tokens
from mulo_sd.conformance.study.summary import Results
from mulo_sd.conformance.study.sweep_claims import ar_by_sweeps
from mulo_sd.conformance.study.sweeps import (
    AR_BY_SWEEPS,
    FEW_PASSES,
    FINE_BY_SWEEPS,
    FINE_LIMITED,
    NO_LIMIT,
    SWEEPS_ACCEPTED,
)
from mulo_sd.conformance.study.variants import variants_of
from mulo_sd.engines.settings import Settings
from mulo_sd.reference.demo.models import PRESETS, RECOMMENDED

MakeRows = Callable[..., list[Row]]
MakeResults = Callable[[list[Row], dict[str, float]], Results]
GAINS = GOALS["demo"].gains
# 240 equal prompts leave an interval of 1.1 points, too wide for a claim of one point.
COUNT = 300
EVERY = [True] * COUNT
WORSE = [number % 2 == 0 for number in range(COUNT)]
OTHER_TOKENS = pack_tokens(np.array([[0, 1, 2], [3, 4, 6]]))


def claims(results: Results) -> list[Claim]:
    return claims_of(results)[len(CLAIMS) :]


def verdicts(results: Results) -> list[str]:
    return [claim.verdict for claim in claims(results)]


def ar_rows(make_rows: MakeRows, count: int = COUNT) -> list[Row]:
    """Return AR's images one token a pass and by sweeps, in as many passes as may be."""
    rows = make_rows("AR", [True] * count, nfe_target=1024, nfe_drafter=0)
    for width, gain in GAINS:
        passes = {"nfe_target": int(1024 / gain), "nfe_drafter": 0}
        rows += make_rows(ar_by_sweeps(width), [True] * count, "exact", **passes)
    return rows


def swept(make_rows: MakeRows, held: list[bool], rivals: list[bool]) -> list[Row]:
    """Return what is claimed to be good, and what its passes could have bought."""
    rows = make_rows(FEW_PASSES, held, "sweeps", nfe_target=9, nfe_drafter=13)
    rows += make_rows(NO_LIMIT, held, "sweeps", nfe_target=20, nfe_drafter=30)
    rows += make_rows("ZipAR, window 1", rivals, nfe_target=63, nfe_drafter=0)
    for name in (SWEEPS_ACCEPTED, FINE_LIMITED, FINE_BY_SWEEPS):
        rows += make_rows(name, rivals, "sweeps", nfe_target=2, nfe_drafter=21)
    return rows


def test_the_widths_of_the_claims_are_drawn() -> None:
    names = {item.name for item in variants_of(["exact"])}
    assert {ar_by_sweeps(width) for width, _ in GAINS} <= names
    assert AR_BY_SWEEPS in {ar_by_sweeps(width) for width, _ in GAINS}


@pytest.mark.parametrize(
    ("name", "expected"),
    [(FEW_PASSES, PRESETS["passes"]), (NO_LIMIT, replace(PRESETS["passes"], sweeps=None, draft_sweeps=None))],
)
def test_claims_are_about_the_preset(name: str, expected: object) -> None:
    (item,) = [item for item in variants_of(["sweeps"]) if item.name == name]
    assert replace(RECOMMENDED, **item.changes(Settings(resample_by=RECOMMENDED.resample_by))) == expected


def test_claims_hold_where_the_numbers_say_so(make_rows: MakeRows, make_results: MakeResults) -> None:
    found = claims(make_results(ar_rows(make_rows) + swept(make_rows, EVERY, WORSE), {}))
    assert [claim.verdict for claim in found] == ["holds"] * 5
    assert "width 64: 300 of 300 images equal, token for token; 157.0 passes" in found[0].facts
    assert "passes: 50.0: holds" in found[1].facts
    assert "300 prompts: 100.0% hold, AR's 100.0%" in found[3].facts


def test_claims_fail_where_the_numbers_say_so(make_rows: MakeRows, make_results: MakeResults) -> None:
    rows = ar_rows(make_rows) + swept(make_rows, WORSE, EVERY)
    assert verdicts(make_results(rows, {})) == ["holds", *["does not hold"] * 4]


@pytest.mark.parametrize("width", [width for width, _ in GAINS])
def test_one_token_that_differs_is_another_image(width: int, make_rows: MakeRows, make_results: MakeResults) -> None:
    rows = ar_rows(make_rows, 12)
    place = next(number for number, row in enumerate(rows) if row.variant == ar_by_sweeps(width))
    rows[place] = replace(rows[place], tokens=OTHER_TOKENS)
    claim = claims(make_results(rows, {}))[0]
    assert claim.verdict == "does not hold"
    assert any(fact.startswith(f"width {width}: 11 of 12 images equal") for fact in claim.facts)


@pytest.mark.parametrize("width", [64, 256])
def test_a_pass_too_many_fails_the_claim(width: int, make_rows: MakeRows, make_results: MakeResults) -> None:
    rows = [
        replace(row, nfe_target=row.nfe_target + 1) if row.variant == ar_by_sweeps(width) else row
        for row in ar_rows(make_rows, 12)
    ]
    assert verdicts(make_results(rows, {}))[0] == "does not hold"


def test_an_equal_score_in_too_many_passes_does_not_hold(make_rows: MakeRows, make_results: MakeResults) -> None:
    rows = ar_rows(make_rows)
    rows += make_rows(FEW_PASSES, EVERY, "sweeps", nfe_target=12, nfe_drafter=13)
    rows += make_rows(NO_LIMIT, EVERY, "sweeps", nfe_target=31, nfe_drafter=30)
    found = claims(make_results(rows, {}))
    assert ("passes: 61.0: does not hold" in found[1].facts, found[1].verdict) == (True, "does not hold")
    assert ("passes: 25.0: does not hold" in found[3].facts, found[3].verdict) == (True, "does not hold")


def test_images_by_sweeps_stand_in_for_those_of_ar(make_rows: MakeRows, make_results: MakeResults) -> None:
    rows = make_rows("AR", EVERY[:12], nfe_target=1024, nfe_drafter=0)
    rows += make_rows(AR_BY_SWEEPS, EVERY, "exact", nfe_target=188, nfe_drafter=0)
    results = make_results(rows + swept(make_rows, EVERY, WORSE), {})
    assert len(results.ar_images()) == COUNT
    assert {row.nfe_target for row in list(results.ar_images().values())} == {1024, 188}
    assert [claim.facts[0][:11] for claim in claims(results)[1:4:2]] == ["300 prompts"] * 2
    assert verdicts(results)[1:] == ["holds"] * 4


def test_claims_without_rows_are_not_measured(make_rows: MakeRows, make_results: MakeResults) -> None:
    assert verdicts(make_results(make_rows("default", [True] * 6), {})) == ["not measured"] * 5


def test_few_prompts_prove_no_score_within_a_point(make_rows: MakeRows, make_results: MakeResults) -> None:
    rows = ar_rows(make_rows) + swept(make_rows, EVERY[:240], WORSE[:240])
    assert verdicts(make_results(rows, {})) == ["holds", "does not hold", *["holds"] * 3]
