from typing import Any

import numpy as np
import pytest
from hypothesis import example, given

from mulo_sd.conformance.rules import acceptance_laws as laws
from mulo_sd.conformance.rules.on_the_reference.test_acceptances import SOME
from mulo_sd.conformance.rules.oracle_model import Array
from mulo_sd.conformance.strategies.drafts import Drafts, drafts
from mulo_sd.engines.rules.acceptances import ACCEPTANCES
from mulo_sd.engines.rules.acceptances.accepted import Codes
from mulo_sd.engines.settings import SETTINGS, Settings
from mulo_sd.reference.acceptances import ACCEPTANCES as REFERENCE


def rule_of(name: str) -> laws.Rule:
    def rule(window: Drafts) -> tuple[Array, Array]:
        values: dict[str, Any] = {setting: getattr(window.settings, setting) for setting in SETTINGS}
        codes = Codes(window.codes.vectors.numpy().astype(np.float32), window.codes.neighbours.numpy())
        probs, draft_probs, tokens, places = (tensor.numpy() for tensor in window.tensors)
        accepted = ACCEPTANCES[name](probs, draft_probs, tokens, places, Settings(**values), codes)
        return accepted.chances, accepted.residuals

    return rule


@pytest.mark.parametrize("name", ACCEPTANCES)
@example(SOME)
@given(drafts())
def test_rules_are_those_of_the_reference(name: str, window: Drafts) -> None:
    laws.acceptance_follows(window, name, rule_of(name))


def test_same_names() -> None:
    assert list(ACCEPTANCES) == list(REFERENCE)
