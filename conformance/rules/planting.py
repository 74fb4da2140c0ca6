"""Defects planted in the reference, to show that the laws find them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from mulo_sd.conformance.rules.decode_laws import Law
from mulo_sd.conformance.strategies.decodes import Case

Patch = Callable[[pytest.MonkeyPatch], None]
Check = Callable[[Any], None]  # a law on given arguments, of a function under test


class Planted(NamedTuple):
    """A defect, a law that finds it, and a decode in which it shows."""

    defect: Patch
    law: Law
    case: Case


def around(owner: object, name: str, wrong: Callable[..., Any]) -> Patch:
    """Replace a function by wrong(the right one, its arguments...)."""
    right = getattr(owner, name)

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(owner, name, lambda *args, **kwargs: wrong(right, *args, **kwargs))

    return patch


def is_found(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Assert that the law holds for a decode of the reference, and not for one with the defect."""
    planted.law(planted.case, planted.case.run(record_logits=True))
    planted.defect(monkeypatch)
    decoded = planted.case.run(record_logits=True)
    with pytest.raises(AssertionError):
        planted.law(planted.case, decoded)


def over(law: Callable[..., None], *arguments: Any) -> Check:
    """Return a law about a function, on these arguments, as a function of the function under test."""
    return lambda implementation: law(*arguments, implementation)
