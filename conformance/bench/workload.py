"""What is drawn: a world's held-out prompts, or random conditions for models whose prompts need a text model."""

from dataclasses import dataclass

import numpy as np

from mulo_sd.engines.bundle.contract import ID_CONDITIONS
from mulo_sd.engines.bundle.manifest import TransformerEntry
from mulo_sd.engines.condition import Condition
from mulo_sd.engines.prompts import Plan
from mulo_sd.engines.service.pipeline import Pipeline


@dataclass(frozen=True, eq=False)
class Drawing:
    """One image to draw: prompt, seed and layout; `condition` stands for all but the seed where it is given."""

    text: str
    seed: int
    plan: Plan | None = None
    condition: Condition | None = None

    def condition_of(self, pipeline: Pipeline) -> Condition:
        """Return it in numbers."""
        if self.condition is not None:
            return self.condition
        return pipeline.describe(self.text, self.seed, self.plan).condition


def random_condition(entry: TransformerEntry, seed: int) -> Condition:
    """Return a condition that a model takes, of which no padding is hidden: ids, or features around 0.

    Args:
        entry: The target.
        seed: The only source of randomness.
    """
    generator, shape = np.random.default_rng((seed, 0)), (entry.prefix_length, entry.condition_width)
    if entry.condition in ID_CONDITIONS:
        return Condition(generator.integers(0, max(1, entry.condition_ids - 1), shape))
    return Condition(generator.standard_normal(shape, dtype=np.float32))
