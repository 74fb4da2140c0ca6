"""Acceptance and repredictions by themselves: where a threshold is met exactly, and what law they follow."""

import numpy as np
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mulo_sd.engines.loop.execute import predict_again
from mulo_sd.engines.rules.acceptance import accept
from mulo_sd.reference import acceptance

CODES = 5


@given(st.floats(-2, 2), st.lists(st.floats(0, 1.5, width=32), max_size=5))
@example(0.1, [])
@example(1.0, [1.0000001])
@example(1.0000001, [2.0])
@settings(deadline=None)
def test_acceptance_equals_the_reference(tau: float, pooled: list[float]) -> None:
    """ACCEPT-1: At tau itself, and one float32 to either side of it, too."""
    near = np.float32(tau)
    values = np.array(
        [*pooled, near, np.nextafter(near, np.float32(9)), np.nextafter(near, np.float32(-9))], np.float32
    )
    expected = acceptance.accept(torch.from_numpy(values), tau).numpy()
    np.testing.assert_array_equal(accept(values, tau), expected)


def log(probs: list[float]) -> NDArray[np.float32]:
    with np.errstate(divide="ignore"):
        return np.log(np.array(probs, dtype=np.float32))


def test_predicted_again_in_the_new_distribution() -> None:
    """SCHED-5: A token of p_old, predicted again, is one of p_new; as many stay as both have in common."""
    old, new = [0.5, 0.3, 0.2, 0.0, 0.0], [0.1, 0.3, 0.3, 0.3, 0.0]
    rng = np.random.default_rng(7)
    count, stayed, found = 20_000, 0, np.zeros(CODES)
    for held in rng.choice(CODES, size=count, p=old).tolist():
        token, kept = predict_again(held, log(old), log(new), rng.random(), rng.gumbel(size=CODES).astype(np.float32))
        assert not kept or token == held
        stayed += kept
        found[token] += 1
    assert np.abs(found / count - new).max() < 0.015
    assert abs(stayed / count - 0.6) < 0.015


def test_the_same_prediction_stays() -> None:
    """SCHED-5: Nothing is drawn again where the distribution has not changed, whatever U is."""
    probs = log([0.2] * CODES)
    noise = np.zeros(CODES, dtype=np.float32)
    assert predict_again(3, probs, probs, 1 - 2**-33, noise) == (3, True)
