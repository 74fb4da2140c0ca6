"""What a decode is asked to draw, as numbers: the vectors or ids that become the prefix (PREFILL)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.bundle.contract import ID_CONDITIONS
from mulo_sd.engines.bundle.manifest import TransformerEntry


class ConditionError(ValueError):
    """A condition that does not fit the models; its message is one line for the user."""


@dataclass(frozen=True, eq=False)
class Condition:
    """A condition: Int64[P, fields] or Float32[P, width], by the kind of the bundle's models.

    Attributes:
        cond: The condition.
        uncond: Its null counterpart; None takes each model's own, which the bundle holds.
        shown: Bool[P], which prefix tokens exist for both halves; None is all of them. No image token sees the others
            (a caption's padding): they are not fed, the last one excepted (PREFILL).
    """

    cond: NDArray[Any]
    uncond: NDArray[Any] | None = None
    shown: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        """Check that the prefix is not hidden as a whole (GRID-2).

        Raises:
            ValueError: it is, or `shown` has another length than the condition.
        """
        if self.shown is not None and (self.shown.shape != self.cond.shape[:1] or not self.shown.any()):
            raise ValueError(f"condition: expected {len(self.cond)} marks of prefix tokens, one of them set at least")

    def prefixes(self, null: NDArray[Any] | None, guidance_scale: float) -> NDArray[Any]:
        """Return [B, P, fields or width] for a model: both with guidance, the conditional one alone without.

        Args:
            null: The model's own null condition, if it has one.
            guidance_scale: As in DIST-1.

        Raises:
            ValueError: guidance asks for a null condition, and there is none.
        """
        if guidance_scale == 1:
            return self.cond[None]
        uncond = null if self.uncond is None else self.uncond
        if uncond is None:
            raise ValueError("condition: expected a null condition for guidance, got none")
        return np.stack([self.cond, uncond])

    def places(self) -> NDArray[np.int64]:
        """Return the positions that the prefill feeds, Int[n], ascending: those that exist, and the last."""
        if self.shown is None:
            return np.arange(len(self.cond))
        return np.flatnonzero(np.append(self.shown[:-1], True))

    def passing(self) -> NDArray[np.int64]:
        """Return the positions that the prefill feeds and no later pass sees, Int[n]: the last, where it is hidden."""
        is_hidden = self.shown is not None and not self.shown[-1]
        return np.array([len(self.cond) - 1] if is_hidden else [], dtype=np.int64)


def check_condition(condition: Condition, entry: TransformerEntry) -> None:
    """Hold a condition against a model of a bundle.

    Raises:
        ConditionError: another shape or type, or a number that is not finite.
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
