"""The adaptive radius: the reference's, cell by cell."""

import numpy as np
import pytest
import torch
from hypothesis import event, given, settings
from hypothesis import strategies as st

from mulo_sd.engines.rules.radius import adaptive_radii
from mulo_sd.reference import radius as reference


@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 9),
    width=st.integers(1, 9),
    radius=st.integers(0, 4),
    radius_nats=st.sampled_from([0.0, 0.1, 0.5, 1.0, 3.0]),
)
@settings(deadline=None, max_examples=200)
def test_equals_the_reference(seed: int, rows: int, width: int, radius: int, radius_nats: float) -> None:
    """LOCAL-3: The same radii, but where the mean entropy lies on a whole number of `radius_nats` up to rounding."""
    entropies = np.random.default_rng(seed).exponential(1.0, (rows, width)).astype(np.float32)
    actual = adaptive_radii(entropies, radius, radius_nats)
    expected = reference.adaptive_radii(torch.from_numpy(entropies), radius, radius_nats).numpy()
    event(f"{len(np.unique(expected))} different radii")
    for nudge in (1 - 1e-9, 1 + 1e-9):
        if radius_nats:
            nudged = torch.from_numpy(entropies.astype(np.float64) * nudge)
            if not np.array_equal(reference.adaptive_radii(nudged, radius, radius_nats).numpy(), expected):
                return
    np.testing.assert_array_equal(actual, expected)
    assert actual.dtype == np.int64


@pytest.mark.parametrize(("radius_nats", "expected"), [(0.0, 2), (1.5, 2), (2.0, 1), (4.0, 0)])
def test_entropy_buys_cells(radius_nats: float, expected: int) -> None:
    """LOCAL-3: 3 nats everywhere, of which each `radius_nats` buy a cell, at most `radius`; 0 asks for no entropy."""
    entropies = np.full((3, 5), 3.0, dtype=np.float32)
    assert (adaptive_radii(entropies, 2, radius_nats) == expected).all()


def test_nothing_uncertain_after_much() -> None:
    """LOCAL-3: A cell without entropy around it has radius 0, whatever lies beside: no rounding makes it negative."""
    entropies = np.random.default_rng(2).exponential(1.0, (32, 32)).astype(np.float32)
    entropies[:, 8:] = 0
    radii = adaptive_radii(entropies, 3, 1e-3)
    assert (radii[:, 11:] == 0).all()
    assert (radii[:, :11] == 3).all()


def test_cells_outside_the_window_do_not_count() -> None:
    """LOCAL-3: The mean of a corner is over what the window holds around it."""
    entropies = np.array([[4.0, 0.0, 0.0], [0.0, 0.0, 0.0]], dtype=np.float32)
    assert adaptive_radii(entropies, 1, 1.0).tolist() == [[1, 0, 0], [1, 0, 0]]
