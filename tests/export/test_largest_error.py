"""An error is a number: NaN and infinity are refused wherever they stand, and named."""

import numpy as np
import pytest
import torch

from mulo_sd.reference.largest_error import NotFiniteError, check_finite_numbers, largest_error

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("broken", [NAN, INF, -INF])
@pytest.mark.parametrize("place", [0, 2])
@pytest.mark.parametrize("side", [0, 1])
def test_not_finite(broken: float, place: int, side: int) -> None:
    """On either side, first or last: `max` of Python and of numpy would take some of them for 0."""
    values = [torch.zeros(3), torch.zeros(3)]
    values[side][place] = broken
    with pytest.raises(NotFiniteError, match=r"^logits.*: expected finite numbers, got . NaN and . infinite among 3$"):
        largest_error(values[0], values[1], "logits")


def test_the_same_infinity_on_both_sides() -> None:
    """Their difference is NaN, not 0."""
    with pytest.raises(NotFiniteError):
        largest_error(torch.tensor([INF]), torch.tensor([INF]), "logits")


def test_numbers() -> None:
    assert largest_error(np.array([1, -3], dtype=np.float32), torch.tensor([1.5, 3.0]), "x") == 6
    assert largest_error(torch.zeros(0, 3), torch.zeros(0, 3), "x") == 0
    assert check_finite_numbers(np.arange(3), "x").tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match=r"x: expected the shape \(1, 3\), got \(3,\)"):
        largest_error(torch.zeros(3), torch.zeros(1, 3), "x")
