"""The study's statistics against closed forms."""

import math

import numpy as np
import pytest

from mulo_sd.conformance.study.statistics import (
    Z_95,
    FrechetTo,
    Matrix,
    bootstrap_interval,
    paired_difference,
    wilson,
)


def drawn(count: int, width: int, seed: int = 0) -> Matrix:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, width)) @ rng.normal(size=(width, width)) + rng.normal(size=width)


def test_wilson_of_eight_in_ten() -> None:
    found = wilson(8, 10)
    assert found.value == 0.8
    assert (round(found.low, 4), round(found.high, 4)) == (0.4902, 0.9433)


def test_wilson_ends_solve_its_equation() -> None:
    found = wilson(13, 60)
    for end in (found.low, found.high):
        assert math.isclose(abs(found.value - end), Z_95 * math.sqrt(end * (1 - end) / 60), rel_tol=1e-9)


def test_wilson_stays_a_share_where_nothing_or_all_holds() -> None:
    none, everything = wilson(0, 60), wilson(60, 60)
    assert none.low == 0.0
    assert everything.high == 1.0
    assert math.isclose(none.high, Z_95**2 / (60 + Z_95**2))
    assert math.isclose(everything.low, 1 - none.high)


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (3, 2), (-1, 2)])
def test_wilson_refuses_what_is_no_share(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="successes"):
        wilson(successes, trials)


def test_paired_difference_counts_only_prompts_that_differ() -> None:
    first = [True] * 6 + [False] * 2 + [True] * 10
    second = [False] * 6 + [True] * 2 + [True] * 10
    found = paired_difference(first, second)
    gain, loss = 7 / 20, 3 / 20
    half = Z_95 * math.sqrt((gain + loss - (gain - loss) ** 2) / 20)
    assert math.isclose(found.value, 4 / 18)
    assert math.isclose(found.low, gain - loss - half)
    assert math.isclose(found.high, gain - loss + half)


def test_paired_difference_has_a_width_where_no_prompt_differs() -> None:
    found = paired_difference([True] * 60, [True] * 60)
    assert found.value == 0
    assert math.isclose(found.high, Z_95 * math.sqrt(2) / 62)
    assert found.low == -found.high
    assert found.low < 0 < found.high


def test_paired_difference_refuses_unequal_lengths() -> None:
    with pytest.raises(ValueError, match="pairs"):
        paired_difference([True], [True, False])


def test_frechet_of_one_dimension() -> None:
    first, second = drawn(40, 1, 1), drawn(30, 1, 2)
    expected = (first.mean() - second.mean()) ** 2 + (first.std(ddof=1) - second.std(ddof=1)) ** 2
    assert math.isclose(FrechetTo(first).distance(second), expected, rel_tol=1e-9)


def test_frechet_of_two_dimensions_that_do_not_commute() -> None:
    first, second = drawn(40, 2, 1), drawn(50, 2, 2)
    one, two = np.cov(first.T), np.cov(second.T)
    product = one @ two
    root_trace = math.sqrt(np.trace(product) + 2 * math.sqrt(np.linalg.det(product)))
    expected = ((first.mean(0) - second.mean(0)) ** 2).sum() + np.trace(one + two) - 2 * root_trace
    assert math.isclose(FrechetTo(first).distance(second), expected, rel_tol=1e-9)


def test_frechet_of_scaled_features_of_low_rank() -> None:
    features = drawn(10, 30)
    expected = 0.25 * (np.trace(np.cov(features.T)) + (features.mean(0) ** 2).sum())
    assert math.isclose(FrechetTo(features).distance(1.5 * features), expected, rel_tol=1e-6)


def test_frechet_is_the_same_by_either_side_of_the_product() -> None:
    few, many = drawn(20, 12, 1), drawn(9, 12, 2)
    assert math.isclose(FrechetTo(few).distance(many), FrechetTo(many).distance(few), rel_tol=1e-6)


def test_frechet_needs_two_images() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        FrechetTo(np.zeros((1, 3)))


def test_bootstrap_interval_lies_about_the_value() -> None:
    found = bootstrap_interval(3.0, np.arange(101.0))
    assert (found.low, found.high) == (3.0 - 47.5, 3.0 + 47.5)
