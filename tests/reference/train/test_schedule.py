"""The learning-rate schedule."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulo_sd.reference.train.schedule import rate_at


@settings(deadline=None)
@given(st.integers(1, 10_000), st.integers(1, 200), st.floats(0.0, 1.0))
def test_rate_rises_stays_and_falls_within_0_and_1(steps: int, warm_up: int, decay_share: float) -> None:
    taken = range(0, steps, max(1, steps // 200))
    rates = [rate_at(step, steps, warm_up, decay_share) for step in taken]
    assert all(0 < rate <= 1 for rate in rates)
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


def test_rate_at_known_steps() -> None:
    assert rate_at(0, 1000) == pytest.approx(1 / 50)
    assert rate_at(49, 1000) == 1
    assert rate_at(600, 1000) == 1
    assert rate_at(800, 1000) == pytest.approx(0.5)
    assert rate_at(999, 1000) == pytest.approx(1 / 400)
    assert rate_at(1000, 1000) == 0
