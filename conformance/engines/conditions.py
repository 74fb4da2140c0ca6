"""The reference's conditions as the engines take them."""

import engines
from reference.models import Condition


def engine_condition(condition: Condition) -> engines.Condition:
    """Return a condition in numpy."""
    parts = (condition.cond, condition.uncond, condition.shown)
    return engines.Condition(*(None if part is None else part.numpy() for part in parts))  # type: ignore[arg-type]  # cond is there
