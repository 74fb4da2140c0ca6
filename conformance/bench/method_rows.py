"""What methods that judge drafts pass by pass would take of a published shape, at declared tokens a pass.

Drafts of random weights are accepted by chance alone, so nothing is decoded: how many tokens a pass of the target
decides and feeds is declared, passes follow from that, and seconds from what passes of such widths take and from the
rule of acceptance itself, which runs on the processor.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mulo_sd.conformance.bench.declared import Declared
from mulo_sd.conformance.bench.floors import Machine, ModelSize, PassSize, best_seconds, floor_of
from mulo_sd.conformance.bench.passes import PassRow
from mulo_sd.conformance.bench.sweep_rows import SHARES, measured_seconds
from mulo_sd.engines.rules.acceptances import ACCEPTANCES
from mulo_sd.engines.rules.acceptances.accepted import Codes
from mulo_sd.engines.settings import Settings

NOTE = (
    "declared: a pass decides as many tokens beyond the first as on the demo, or a half or a quarter of these; passes "
    "are those at full caches, a head's by its floor; the rule of acceptance is timed on this processor"
)
MAX_NEIGHBOURS = 1000


@dataclass(frozen=True)
class MethodRow:
    """A method at declared tokens a pass.

    Attributes:
        declared: Them.
        share: Of the demo's tokens beyond the first.
        passes: Of the target, its prefill included.
        floor_seconds: Of all passes, the head's among them, at full caches.
        measured_seconds: By measured passes of the target of the nearest widths; None where there are none.
        rule_seconds: Of the rule of acceptance, in all of them.
        gain: Of one token a pass, by floors and rule.
        measured_gain: The same by measured passes.
    """

    declared: Declared
    share: float
    passes: float
    floor_seconds: float
    measured_seconds: float | None
    rule_seconds: float
    gain: float
    measured_gain: float | None

    def to_json(self) -> dict[str, Any]:
        """Return it by name."""
        return vars(self) | {"declared": dict(vars(self.declared))}


def rule_seconds(mode: str, drafts: int, vocabulary: int) -> float:
    """Return how long a mode's rule takes to judge so many drafts over a vocabulary, on this processor."""
    settings = Settings.model_validate({"mode": mode})
    generator = np.random.default_rng(0)
    probs, draft_probs = (generator.dirichlet(np.full(vocabulary, 0.01), drafts) for _ in range(2))
    tokens = draft_probs.argmax(axis=1)
    neighbours = generator.integers(0, vocabulary, (vocabulary, min(vocabulary, MAX_NEIGHBOURS)))
    neighbours[:, 0] = np.arange(vocabulary)
    codes = Codes(generator.standard_normal((vocabulary, 8), dtype=np.float32), neighbours)
    rule = ACCEPTANCES[settings.decoding.acceptance or ""]
    return best_seconds(lambda: rule(probs, draft_probs, tokens, np.arange(drafts), settings, codes))


def method_rows(
    declared: Sequence[Declared],
    model: ModelSize,
    cells: int,
    prefix: int,
    batch: int,
    machine: Machine,
    precision: str,
    measured: Sequence[PassRow],
) -> list[MethodRow]:
    """Return what each method would take, a row for each share; none where the machine's rate is not known.

    Args:
        declared: The methods.
        model: The target's size.
        cells: Of its grid.
        prefix: Tokens of a condition.
        batch: Rows; 2 with guidance.
        machine: For the floors.
        precision: Of the bundle.
        measured: Passes of the same target.
    """
    slots = prefix + cells
    head = replace(model, layers=1)

    def floor(size: ModelSize, fed: int) -> float | None:
        found = floor_of(machine, size, PassSize(batch, fed, slots), precision)
        return None if found is None else found.seconds

    rows = []
    one, one_measured = floor(model, 1), measured_seconds(measured, 1)
    for item in declared:
        width, drafting = floor(model, item.fed), floor(head, item.drafts_fed)
        if one is None or width is None or drafting is None:
            return []
        rule = rule_seconds(item.mode, max(1, item.fed - 1), model.vocabulary)
        taken = measured_seconds(measured, item.fed)
        for share in SHARES:
            passes = cells / (1 + share * (item.tokens - 1))
            beside = passes * (item.drafts * drafting + rule)
            by_floor = passes * width + beside
            by_measured = None if taken is None else passes * taken + beside
            rows.append(
                MethodRow(
                    declared=item,
                    share=share,
                    passes=1 + passes,
                    floor_seconds=by_floor,
                    measured_seconds=by_measured,
                    rule_seconds=passes * rule,
                    gain=cells * one / by_floor,
                    measured_gain=(
                        None if by_measured is None or one_measured is None else cells * one_measured / by_measured
                    ),
                )
            )
    return rows
