"""Evidence that a property met its cases: named branches, and a test that fails where one was never reached."""

import functools
from collections import Counter
from collections.abc import Callable
from typing import ParamSpec

from hypothesis import currently_in_test_context, event, settings

P = ParamSpec("P")
_reached: Counter[str] = Counter()
_counted: Counter[str] = Counter()
EXAMPLE, NEAR_TIE = "an example", "a near-tie"


def reach(branch: str, happened: bool = True, count: int = 1) -> None:
    """Count a branch of the running property, `count` times, and show it in Hypothesis' statistics."""
    if happened and count:
        _reached[branch] += count
        _counted[branch] += count
        if currently_in_test_context():
            event(branch)


def start_counting() -> None:
    """Forget what has been counted; a test begins."""
    _counted.clear()


def counted() -> dict[str, int]:
    """Return how often each branch was met since."""
    return {branch: int(count) for branch, count in _counted.items() if branch != EXAMPLE}


def examples() -> int:
    """Return how many decodes were judged since; 1 for a test that judges something else."""
    return _counted[EXAMPLE] or 1


def must_reach(*branches: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Make a property fail where all its examples together miss one of the branches; goes above `given`."""

    def decorate(test: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(test)
        def checked(*args: P.args, **kwargs: P.kwargs) -> None:
            _reached.clear()
            test(*args, **kwargs)
            missed = [branch for branch in branches if not _reached[branch]]
            assert not missed, f"vacuous: no example reached {missed}; reached {dict(_reached)}"

        return checked

    return decorate


def share_of_examples(divisor: int) -> settings:
    """Return settings with the profile's number of examples divided: for properties whose examples cost a decode."""
    return settings(max_examples=max(4, settings().max_examples // divisor))
