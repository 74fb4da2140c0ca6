"""Decodes on grids that are no squares obey the laws: rows and columns cannot be taken for each other."""

import pytest

from mulo_sd.conformance.engines.cases import JUDGED_SETTINGS, PROMPTS, SEED
from mulo_sd.conformance.engines.engine_case import EngineCase, capabilities_for
from mulo_sd.conformance.engines.laws import LAWS, EngineLaw, judge
from mulo_sd.conformance.engines.shapes import FEW, level_of_profile
from mulo_sd.conformance.subject import Subject

# The profile dev judges every third decode, and every profile as few where judging computes each pass once more.
SHARE, COSTLY = 3, 8


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.law.__name__)
def test_law(law: EngineLaw, oblong_subject: Subject) -> None:
    """Every decode obeys the law, with guidance and without."""
    chosen = [
        EngineCase(oblong_subject, PROMPTS[index % len(PROMPTS)], item, SEED)
        for index, item in enumerate(JUDGED_SETTINGS)
        if item.mode in law.modes and capabilities_for(item) <= oblong_subject.capabilities
    ]
    if not chosen:
        pytest.skip(f"not applicable: the backend has none of the modes {', '.join(law.modes)}")
    few = level_of_profile() == FEW or law.share >= COSTLY
    for case in chosen[:: -SHARE if few else -1]:  # the last ones have no guidance
        judge(law, case)
