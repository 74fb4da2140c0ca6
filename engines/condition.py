"""A condition: the vectors or ids that tell the models what to draw, and become the prefix (PREFILL)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.bundle.contract import ID_CONDITIONS
from mulo_sd.engines.bundle.manifest import TransformerEntry


class ConditionError(ValueError):
    """A condition that does not fit the models; the message is one line for the user."""


@dataclass(frozen=True, eq=False)
class Condition:
    """A condition: Int64[P, fields] or Float32[P, width], by the kind of the bundle's models.

    Attributes:
        cond: The condition.
        uncond: The null condition, for guidance; None takes each model's own, from the bundle.
        shown: Bool[P], which prefix tokens image tokens attend to; None is all of them. The others (a caption's
            padding) are not fed, except for the last prefix token (PREFILL).
    """

    cond: NDArray[Any]
    uncond: NDArray[Any] | None = None
    shown: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        """Check that at least one prefix token is shown (GRID-2).

        Raises:
            ValueError: none is, or `shown` has another length than the condition.
        """
        if self.shown is not None and (self.shown.shape != self.cond.shape[:1] or not self.shown.any()):
            raise ValueError(
                f"condition: expected shown to be {len(self.cond)} booleans, at least one of them true, "
                f"got {self.shown.dtype} {self.shown.shape}; correct `shown`"
            )

    def prefixes(self, null: NDArray[Any] | None, guidance_scale: float) -> NDArray[Any]:
        """Return a model's prefixes, [B, P, fields or width]: with guidance the null condition's comes second.

        Args:
            null: The model's own null condition, if it has one.
            guidance_scale: DIST-1.

        Raises:
            ValueError: guidance needs a null condition, and there is none.
        """
        if guidance_scale == 1:
            return self.cond[None]
        uncond = null if self.uncond is None else self.uncond
        if uncond is None:
            raise ValueError(
                "condition: expected a null condition for guidance, got none; give one, or guidance_scale=1"
            )
        return np.stack([self.cond, uncond])

    def places(self) -> NDArray[np.int64]:
        """Return the positions that the prefill feeds, Int[n], ascending: those shown, and the last."""
        if self.shown is None:
            return np.arange(len(self.cond))
        return np.flatnonzero(np.append(self.shown[:-1], True))

    def passing(self) -> NDArray[np.int64]:
        """Return the positions that only the prefill sees, Int[n]: the last one where it is not shown, or none."""
        is_hidden = self.shown is not None and not self.shown[-1]
        return np.array([len(self.cond) - 1] if is_hidden else [], dtype=np.int64)


def check_condition(condition: Condition, entry: TransformerEntry) -> None:
    """Check that a condition fits a model of a bundle.

    Raises:
        ConditionError: it has another shape or type, or holds a number that is not finite or an id out of range.
    """
    if condition.shown is not None and condition.shown.dtype != np.bool_:
        raise ConditionError(f"shown: expected bool, got {condition.shown.dtype}")
    dtype = np.dtype(np.int64 if entry.condition in ID_CONDITIONS else np.float32)
    shape = (entry.prefix_length, entry.condition_width)
    for name, values in (("condition", condition.cond), ("null condition", condition.uncond)):
        if values is None:
            continue
        if values.shape != shape or values.dtype != dtype:
            raise ConditionError(f"{name}: expected {dtype} {shape}, got {values.dtype} {values.shape}")
        if entry.condition in ID_CONDITIONS and not 0 <= values.min() <= values.max() < entry.condition_ids:
            raise ConditionError(
                f"{name}: expected ids in 0..{entry.condition_ids - 1}, got {values.min()}..{values.max()}"
            )
        if not np.isfinite(values).all():
            raise ConditionError(f"{name}: expected finite numbers, got NaN or infinity")
