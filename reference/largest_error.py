"""How far numbers are from those expected: one reduction, which no NaN passes.

`max(0.0, nan)` is 0.0, and NaN is smaller than no bound: a comparison that only asks for the largest difference takes
an answer of NaN for a perfect one. Whatever measures an error does it here.
"""

from typing import Any

import torch
from torch import Tensor


class NotFiniteError(ValueError):
    """Numbers among which is NaN or infinity; its message is one line that names the tensor and how many."""


def check_finite_numbers(values: Any, what: str) -> Tensor:
    """Return an array or tensor as a tensor, all of whose numbers are finite.

    Args:
        values: Of torch or numpy, of any shape and dtype.
        what: The tensor's name, for the message.

    Raises:
        NotFiniteError: one is not.
    """
    numbers = torch.as_tensor(values)
    broken = numbers.numel() - int(torch.isfinite(numbers).sum())
    if broken:
        nan = int(torch.isnan(numbers).sum())
        raise NotFiniteError(
            f"{what}: expected finite numbers, got {nan} NaN and {broken - nan} infinite among {numbers.numel()}"
        )
    return numbers


def largest_error(result: Any, expected: Any, what: str) -> float:
    """Return the largest absolute difference of two arrays or tensors of one shape; 0 where they are empty.

    Args:
        result: What is judged.
        expected: What it is held against.
        what: The tensor's name, for the message.

    Raises:
        NotFiniteError: either holds NaN or infinity.
        ValueError: the shapes differ.
    """
    ours, theirs = check_finite_numbers(result, what), check_finite_numbers(expected, f"{what}, the reference's")
    if ours.shape != theirs.shape:
        raise ValueError(f"{what}: expected the shape {tuple(theirs.shape)}, got {tuple(ours.shape)}")
    return float((ours.double() - theirs.double()).abs().max()) if ours.numel() else 0.0
