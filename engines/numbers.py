"""Check numbers from outside, Python's or numpy's, and return them in Python's own types."""

import math
import operator
from collections.abc import Iterable
from itertools import islice

import numpy as np
from numpy.typing import NDArray

MAX_SEED = 2**64 - 1
# A larger pool of threads takes seconds to start, and with some thousands a runtime hangs.
MAX_THREADS = 1024
# A hundred years; a thread cannot wait for three hundred.
MAX_SECONDS = 3e9


class SettingsError(ValueError):
    """A setting of the wrong type or out of its range; the message is one line for the user."""


def whole_number(name: str, value: object, smallest: int, largest: int) -> int:
    """Return a whole number: Python's, numpy's, or any other with `__index__`; no boolean.

    Args:
        name: What the caller calls the setting or option, for messages.
        value: The value to check.
        smallest: The smallest number that is allowed.
        largest: The largest.

    Raises:
        SettingsError: the value is no whole number, or out of its range.
    """
    try:
        number = None if _is_boolean(value) else operator.index(value)  # type: ignore[arg-type]  # that is the question
    except TypeError:
        number = None
    if number is None or not smallest <= number <= largest:
        raise SettingsError(f"{name}: expected a whole number in {smallest}..{largest}, got {value!r:.80}")
    return number


def real_number(name: str, value: object, smallest: float, largest: float) -> float:
    """Return a finite number: Python's, numpy's, or any other with `__float__`; no text or boolean.

    Args:
        name: What the caller calls the setting or option, for messages.
        value: The value to check.
        smallest: The smallest number that is allowed.
        largest: The largest.

    Raises:
        SettingsError: the value is no number, not finite, or out of its range.
    """
    try:
        number = math.nan if isinstance(value, str | bytes) or _is_boolean(value) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not smallest <= number <= largest or math.isinf(number):
        raise SettingsError(f"{name}: expected a number in {smallest:g}..{largest:g}, got {value!r:.80}")
    return number


def seed_number(value: object, name: str = "seed") -> int:
    """Return a seed, 0..2^64 - 1 (RNG-1).

    Raises:
        SettingsError: the value is no seed.
    """
    return whole_number(name, value, 0, MAX_SEED)


def seed_numbers(count: int, value: object) -> list[int]:
    """Return seeds that a caller gave: one for all images, or one of each.

    Args:
        count: Of the images.
        value: A seed, or seeds.

    Raises:
        SettingsError: one is no seed, or there are more or fewer than images.
    """
    if not isinstance(value, Iterable) or isinstance(value, str | bytes) or getattr(value, "ndim", 1) == 0:
        return [seed_number(value)] * count
    # One more than there are images, so that no endless iterable is read.
    seeds = [seed_number(seed) for seed in islice(value, count + 1)]
    if len(seeds) != count:
        more = " or more" if len(seeds) > count else ""
        raise SettingsError(f"seed: expected one of each of {count} prompts, got {len(seeds)}{more}")
    return seeds


def thread_count(value: object) -> int | None:
    """Return a number of CPU threads; None takes the runtime's choice.

    Raises:
        SettingsError: the value is no number of threads.
    """
    return None if value is None else whole_number("threads", value, 1, MAX_THREADS)


def seconds(name: str, value: object) -> float:
    """Return a time limit in seconds, from 0 on.

    Raises:
        SettingsError: the value is no such number, or longer than a thread can wait.
    """
    return real_number(name, value, 0, MAX_SECONDS)


def positive_seconds(name: str, value: object) -> float:
    """Return a time limit in seconds, above 0.

    Raises:
        SettingsError: the value is no such number, or longer than a thread can wait.
    """
    number = seconds(name, value)
    if number == 0:
        raise SettingsError(f"{name}: expected a number of seconds above 0, got {value!r:.80}")
    return number


def token_grid(name: str, value: object, codes: int, shape: tuple[int, int] | None = None) -> NDArray[np.int64]:
    """Return a grid of tokens, Int[H, W]; numpy would count a negative one from the last code.

    Args:
        name: What the caller calls the argument, for messages.
        value: An array, or nested lists.
        codes: How many codes the codebook has.
        shape: Height and width; None is any.

    Raises:
        SettingsError: the value is no such grid, or holds a number that is no token.
    """
    try:
        grid = np.asarray(value)
    except ValueError:  # lists of unequal lengths
        grid = np.empty(0)
    if grid.ndim != 2 or not grid.size or (shape is not None and grid.shape != shape):
        size = "a grid of" if shape is None else f"{shape[0]} x {shape[1]}"
        raise SettingsError(f"{name}: expected {size} tokens, got {grid.shape}")
    if grid.dtype.kind not in "iu" or int(grid.min()) < 0 or int(grid.max()) >= codes:
        values = f"{grid.min()}..{grid.max()}" if grid.dtype.kind in "iuf" else "others"
        raise SettingsError(f"{name}: expected whole numbers in 0..{codes - 1}, got {grid.dtype} {values}")
    return grid.astype(np.int64)


def truth(name: str, value: object) -> bool:
    """Return a boolean, Python's or numpy's; no number or text.

    Raises:
        SettingsError: the value is no boolean.
    """
    if not _is_boolean(value) or getattr(value, "shape", ()) != ():
        raise SettingsError(f"{name}: expected True or False, got {value!r:.80}")
    return bool(value)


def _is_boolean(value: object) -> bool:
    return isinstance(value, bool) or getattr(getattr(value, "dtype", None), "kind", "") == "b"
