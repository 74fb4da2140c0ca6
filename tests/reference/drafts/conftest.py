"""The minimal models, and a condition for them."""

import pytest

from mulo_sd.reference import minimal
from mulo_sd.reference.demo.models import condition as condition_of
from mulo_sd.reference.models import Condition, Models


@pytest.fixture(scope="session")
def models() -> Models:
    return minimal.load()


@pytest.fixture(scope="session")
def condition() -> Condition:
    return condition_of("a red circle")
