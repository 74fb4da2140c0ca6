"""The variants of the claims follow from what was measured."""

from collections.abc import Callable

import pytest

from mulo_sd.conformance.study.confirm import SECTION, coarser_chains, confirm_variants, equal_windows
from mulo_sd.conformance.study.rows import Row
from mulo_sd.conformance.study.summary import Results, lines_of_section
from mulo_sd.conformance.study.variant import CHAINS, RATIO_2
from mulo_sd.conformance.study.variants import FINE_ACCEPTED, variants_of

MakeRows = Callable[..., list[Row]]
MakeResults = Callable[[list[Row], dict[str, float]], Results]
SWEEPS = [
    "sweeps, few passes",
    "sweeps, no limit",
    "draft by sweeps, accepted",
    "drafters 1, draft by 20 sweeps, accepted",
    "drafters 1, draft by sweeps, accepted",
    "AR by sweeps, width 16",
    "ZipAR, window 1",
]
FIXED = [
    "AR",
    "AR, other seeds",
    "default",
    "everything accepted",
    FINE_ACCEPTED,
    "oracle, default",
    "oracle, everything accepted",
    *SWEEPS,
]
IDENTITIES = {(item.section, item.name): f"{item.section}/{item.name}" for item in variants_of()}


def by_scene(rows: list[Row]) -> dict[tuple[int, int], Row]:
    return {row.scene: row for row in rows}


@pytest.mark.parametrize(
    ("nfe", "windows"), [(62, (1,)), (63, (1,)), (87, (1, 2)), (155, (3, 4)), (156, (4,)), (400, (8, 16)), (600, (16,))]
)
def test_equal_windows_are_on_both_sides(nfe: int, windows: tuple[int, ...], make_rows: MakeRows) -> None:
    rows = make_rows("default", [True] * 3, nfe_target=nfe - 20, nfe_drafter=20)
    assert equal_windows(by_scene(rows)) == windows


def test_equal_windows_are_those_of_the_mean(make_rows: MakeRows) -> None:
    rows = make_rows("default", [True], nfe_target=130, nfe_drafter=20)
    rows += make_rows("default", [True] * 2, nfe_target=141, nfe_drafter=20)[1:]
    assert equal_windows(by_scene(rows)) == (3, 4)  # 155.5 passes
    assert equal_windows({}) == ()


@pytest.mark.parametrize(
    ("held", "passes", "expected"),
    [
        ((98, 96), (60, 90), (2,)),  # both keep the score: the cheaper
        ((60, 96), (60, 90), (1, 2)),  # the cheaper one does not
        ((60, 70), (60, 90), (1, 2)),  # neither does: the better
        ((97, 60), (90, 60), (2,)),  # exactly 3 points below 100
    ],
)
def test_cheapest_chain_that_keeps_the_score(
    held: tuple[int, int], passes: tuple[int, int], expected: tuple[int, ...], make_rows: MakeRows
) -> None:
    groups = {RATIO_2: by_scene(make_rows("drafters 1", [True] * 100, nfe_target=150))}
    for chain, count, nfe in zip(CHAINS[1:], held, passes, strict=True):
        groups[chain] = by_scene(make_rows("x", [True] * count + [False] * (100 - count), nfe_target=nfe))
    assert coarser_chains(groups) == [expected]


def test_chains_that_were_not_measured_are_all_drawn(make_rows: MakeRows) -> None:
    groups = {chain: by_scene(make_rows("x", [True] * 6)) for chain in CHAINS[:2]}
    assert coarser_chains(groups) == [(2,), (1, 2)]


def test_confirm_has_the_controls_and_what_follows(make_rows: MakeRows) -> None:
    rows = make_rows("default", [True] * 6, nfe_target=140, nfe_drafter=20)
    rows += make_rows("drafters 1", [True] * 6, "cascade") + make_rows("drafters 2", [False] * 6, "cascade")
    rows += make_rows("drafters 1,2", [True] * 6, "cascade")
    listed = confirm_variants(rows, IDENTITIES)
    assert [item.name for item in listed] == [
        *FIXED,
        "ZipAR, window 4",
        "ZipAR, window 5",
        "drafters 1",
        "drafters 1,2",
    ]
    assert {item.section for item in listed} == {SECTION}
    settings = {item.name: (dict(item.settings), item.oracle, item.other_seeds) for item in listed}
    assert settings["ZipAR, window 4"][0] == {"mode": "zipar", "window": 4, "adaptive_window": False}
    assert settings["oracle, everything accepted"] == ({"tau": 0.0}, True, False)
    assert settings["AR, other seeds"][2]


def test_without_rows_only_what_is_known_is_confirmed() -> None:
    names = [item.name for item in confirm_variants([], IDENTITIES)]
    assert names == [*FIXED, "drafters 1", "drafters 2", "drafters 1,2"]


def test_confirm_is_over_more_prompts_than_the_sections(make_rows: MakeRows, make_results: MakeResults) -> None:
    rows = make_rows("AR", [True] * 24, nfe_target=1024, nfe_drafter=0) + make_rows("default", [True] * 24)
    rows += make_rows("ZipAR, window 2", [True] * 6) + make_rows("ZipAR, window 3", [True] * 24)
    results = make_results(rows, {})
    confirmed = confirm_variants(rows, results.identities)
    for item in confirmed:
        same = results.identities.get(("controls", item.name))
        if same:
            results.identities[SECTION, item.name] = same
    assert {line.images for line in lines_of_section(variants_of(["controls"]), results)} == {6}
    lines = lines_of_section(confirmed, results)
    assert {line.variant: line.images for line in lines} == {"AR": 24, "default": 24, "ZipAR, window 3": 24}
