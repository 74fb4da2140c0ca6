"""How many decisions may differ by chance: the binomial distribution, added up term by term."""

from math import comb

import pytest

from mulo_sd.export.allowed import FALSE_ALARM, false_alarm, max_allowed


@pytest.mark.parametrize(("count", "rate"), [(48, 0.001), (64, 0.01), (512, 5e-5), (512, 0.02), (900, 0.08)])
def test_the_smallest_number_that_chance_seldom_exceeds(count: int, rate: float) -> None:
    def tail(allowed: int) -> float:
        return sum(comb(count, k) * rate**k * (1 - rate) ** (count - k) for k in range(allowed + 1, count + 1))

    allowed = max_allowed(count, rate)
    assert false_alarm(allowed, count, rate) == pytest.approx(tail(allowed), rel=1e-6)
    assert tail(allowed) <= FALSE_ALARM < tail(allowed - 1)


def test_more_decisions_tell_more() -> None:
    """A share that is allowed of few decisions is refused of many."""
    assert [max_allowed(count, 0.02) / count for count in (48, 512, 5000)] == sorted(
        (max_allowed(count, 0.02) / count for count in (48, 512, 5000)), reverse=True
    )
    assert max_allowed(5000, 0.02) < 0.03 * 5000
