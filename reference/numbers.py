"""Numbers that a caller gives: one rule for all of them, in Python's types whoever made them."""

import math
import operator

MAX_SEED = 2**64 - 1
MAX_THREADS = 1024  # with some thousands a thread pool hangs


def is_boolean(value: object) -> bool:
    """Whether a value is Python's boolean or numpy's, without dimensions."""
    kind, shape = getattr(getattr(value, "dtype", None), "kind", ""), getattr(value, "shape", ())
    return isinstance(value, bool) or (kind == "b" and shape == ())


def whole_number(name: str, value: object, smallest: int, largest: int | None = None) -> int:
    """Return a whole number: Python's, numpy's, or any other with `__index__`; no boolean.

    Args:
        name: Of the setting or option, as the caller knows it.
        value: What was given.
        smallest: The smallest that is allowed.
        largest: The largest; None is any.

    Raises:
        ValueError: it is no whole number, or out of its range.
    """
    try:
        number = None if is_boolean(value) else operator.index(value)  # type: ignore[arg-type]  # that is the question
    except TypeError:
        number = None
    if number is None or number < smallest or (largest is not None and number > largest):
        wanted = f"a whole number from {smallest} on" if largest is None else f"a whole number in {smallest}..{largest}"
        raise ValueError(f"{name}: expected {wanted}, got {value!r:.80}")
    return number


def real_number(name: str, value: object, smallest: float, largest: float) -> float:
    """Return a finite number: Python's, numpy's, or any other with `__float__`; no text or boolean.

    Args:
        name: Of the setting or option, as the caller knows it.
        value: What was given.
        smallest: The smallest that is allowed.
        largest: The largest.

    Raises:
        ValueError: it is no number, not finite, or out of its range.
    """
    try:
        number = math.nan if isinstance(value, str | bytes) or is_boolean(value) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not smallest <= number <= largest or math.isinf(number):
        raise ValueError(f"{name}: expected a number in {smallest:g}..{largest:g}, got {value!r:.80}")
    return number


def seed_number(value: object) -> int:
    """Return a seed, 0..2^64 - 1 (RNG-1).

    Raises:
        ValueError: it is none.
    """
    return whole_number("seed", value, 0, MAX_SEED)
