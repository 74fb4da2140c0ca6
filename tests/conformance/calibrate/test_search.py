"""The choice among candidates, on synthetic measurements."""

from dataclasses import replace

import pytest

from mulo_sd.conformance.calibrate.candidates import Candidate
from mulo_sd.conformance.calibrate.search import Choice, Measured, Sample, choose, rungs, search, survivors


def candidate(radius: int) -> Candidate:
    return Candidate(tau=0.2, radius=radius, neighbours=16)


def measured(radius: int, agreements: list[float], seconds: float, nfe: int = 10) -> Measured:
    return Measured(candidate(radius), [Sample(value, seconds, nfe) for value in agreements])


def test_the_fastest_that_keeps_the_agreement_is_chosen() -> None:
    slow, fast, bad = measured(3, [0.0] * 8, 2.0), measured(2, [0.0] * 8, 1.0), measured(0, [-0.5] * 8, 0.5)
    assert choose([slow, fast, bad], -0.02).fastest is fast
    assert choose([slow, fast, bad], -0.6).fastest is bad
    assert choose([bad], -0.02) == Choice(None, None, None)


def test_equal_seconds_are_decided_by_passes() -> None:
    many, few = measured(1, [0.0] * 4, 1.0, nfe=20), measured(2, [0.0] * 4, 1.0, nfe=10)
    assert choose([many, few], -0.02).fastest is few


def test_fewest_passes_and_windows_are_chosen_for_themselves() -> None:
    swept = Measured(replace(candidate(1), resample_by="sweeps"), [Sample(0.0, 1.0, 50)] * 4)
    few = Measured(replace(candidate(2), resample_by="sweeps"), [Sample(0.0, 9.0, 5)] * 4)
    windows = measured(3, [0.0] * 4, 2.0, nfe=60)
    fewer_but_worse = measured(0, [-0.5] * 4, 1.0, nfe=1)
    assert choose([swept, few, windows, fewer_but_worse], -0.02) == Choice(swept, few, windows)
    assert choose([swept, few], -0.02) == Choice(swept, few, None)


def test_few_passes_stay_although_they_are_slow() -> None:
    slow = [measured(radius, [0.0] * 4, 10.0 + radius, nfe=radius) for radius in range(8)]
    fast = [measured(radius, [0.0] * 4, 1.0, nfe=100) for radius in range(8)]
    assert survivors(slow + fast, -0.02) == fast + slow[:3]


def test_who_was_measured_on_fewer_prompts_is_not_chosen() -> None:
    lucky, known = measured(0, [0.0] * 4, 0.1), measured(2, [0.0] * 16, 1.0)
    assert choose([lucky, known], -0.02).fastest is known


def test_what_cannot_keep_the_agreement_is_dropped_first() -> None:
    hopeless = measured(0, [-1.0] * 8, 0.1)
    others = [measured(radius, [0.0, -0.1, 0.0, 0.1], 1.0 + radius) for radius in range(1, 9)]
    left = survivors([hopeless, *others], -0.02)
    assert hopeless not in left
    assert [item.candidate.radius for item in left] == [1, 2, 3, 4]


@pytest.mark.parametrize("prompts", [1, 3, 4, 5, 17])
def test_rungs_cover_every_prompt_once(prompts: int) -> None:
    assert [number for part in rungs(prompts) for number in part] == list(range(prompts))


def test_every_candidate_meets_the_same_prompts_and_the_slow_drop_out() -> None:
    asked: list[tuple[int, int]] = []

    def measure(item: Candidate, number: int) -> Sample:
        asked.append((item.radius, number))
        return Sample(0.0, 1.0 + item.radius, 1)

    found = search([candidate(radius) for radius in range(8)], 16, -0.02, measure, lambda: True)
    assert [len(item.samples) for item in found] == [16, 16, 16, 8, 4, 4, 4, 4]
    assert {number for radius, number in asked if radius == 0} == set(range(16))
    best = choose(found, -0.02).fastest
    assert best is not None
    assert best.candidate.radius == 0


def test_no_sample_is_taken_after_the_time_is_up() -> None:
    left = iter([True] * 6 + [False] * 100)
    taken = []

    def measure(item: Candidate, number: int) -> Sample:
        taken.append(number)
        return Sample(0.0, 1.0, 1)

    found = search([candidate(0), candidate(1)], 16, -0.02, measure, lambda: next(left))
    assert len(taken) == 6
    # The second candidate's round was cut short: it counts for nothing.
    assert [len(item.samples) for item in found] == [4, 0]
