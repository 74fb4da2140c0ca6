"""Numbers from outside: one rule for all of them, in Python's types whoever made them."""

import math
import operator

from engines.settings import SettingsError

MAX_SEED = 2**64 - 1


def whole_number(name: str, value: object, least: int, most: int) -> int:
    """Return a whole number that a caller gave: Python's, numpy's, or any other with `__index__`; no boolean.

    Args:
        name: Of the setting or option, as the caller knows it.
        value: What was given.
        least: The smallest that is allowed.
        most: The largest.

    Raises:
        SettingsError: it is no whole number, or out of its range.
    """
    try:
        number = None if _is_boolean(value) else operator.index(value)  # type: ignore[arg-type]  # that is the question
    except TypeError:
        number = None
    if number is None or not least <= number <= most:
        raise SettingsError(f"{name}: expected a whole number in {least}..{most}, got {value!r:.80}")
    return number


def real_number(name: str, value: object, least: float, most: float) -> float:
    """Return a finite number that a caller gave: Python's, numpy's, or any other with `__float__`; no text or boolean.

    Args:
        name: Of the setting or option, as the caller knows it.
        value: What was given.
        least: The smallest that is allowed.
        most: The largest.

    Raises:
        SettingsError: it is no number, not finite, or out of its range.
    """
    try:
        number = math.nan if isinstance(value, str | bytes) or _is_boolean(value) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not least <= number <= most or math.isinf(number):
        raise SettingsError(f"{name}: expected a number in {least:g}..{most:g}, got {value!r:.80}")
    return number


def seed_number(value: object, name: str = "seed") -> int:
    """Return a seed that a caller gave, 0..2^64 - 1 (RNG-1).

    Raises:
        SettingsError: it is none.
    """
    return whole_number(name, value, 0, MAX_SEED)


def _is_boolean(value: object) -> bool:
    return isinstance(value, bool) or getattr(getattr(value, "dtype", None), "kind", "") == "b"
