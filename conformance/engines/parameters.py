"""Cases as parameters of tests."""

from typing import Any

import pytest

from mulo_sd.conformance.engines.cases import Case


def marked(cases: tuple[Case, ...]) -> list[Any]:
    """Return cases as parameters of a test, marked where they are thorough."""
    return [pytest.param(case, id=case.name, marks=[pytest.mark.thorough] * case.thorough) for case in cases]
