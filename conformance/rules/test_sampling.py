"""DIST-1 and DIST-2."""

import pytest
import torch
from hypothesis import example, given

from conformance.rules import cycle_laws, decode_laws, function_laws
from conformance.rules.branches import must_reach, share_of_examples
from conformance.strategies.decodes import FILTERED, LOCAL_MODES, MIXED, Case, cases
from conformance.strategies.logits import Logits, logits
from reference.sampling import target_probs

TIES = Logits((1.0, 2.0, 2.0, 0.0), None, 1.0, 1.0, 1, 1.0)
NUCLEUS = Logits((0.0, 3.0, 1.0, 2.0), None, 1.0, 1.0, 3, 0.3)
GUIDED = Logits((0.0, 1.0, 0.5), (1.0, 0.0, 0.5), 2.0, 0.5, 0, 0.9)
GREEDY = Logits((0.0, 1.0, 1.0), (1.0, 0.0, 0.0), 2.0, 0.0, 0, 1.0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16], ids=str)
@must_reach(
    "greedy", "top-k drops some", "top-k keeps a tie", "top-p drops some", "top-p keeps one", "guidance matters"
)
@example(logits=TIES)
@example(logits=NUCLEUS)
@example(logits=GUIDED)
@example(logits=GREEDY)
@given(logits=logits())
def test_distribution(logits: Logits, dtype: torch.dtype) -> None:
    """DIST-1: p is made by guidance, then temperature, then top-k, then top-p, then softmax in fp32 or better.

    Guidance is uncond + scale * (cond - uncond). Top-k keeps every logit that reaches the k-th largest. Top-p
    keeps the token that crosses the threshold; of equal logits the lower token ranks first. Temperature 0 is
    greedy: everything on the (first) largest logit.
    """
    function_laws.probs_follow(logits, dtype, target_probs)


@must_reach("some kept, some rejected", "what acceptance looks at is not what is sampled from")
@example(MIXED)
@example(FILTERED)
@share_of_examples(2)
@given(cases(LOCAL_MODES))
def test_one_distribution(case: Case) -> None:
    """DIST-2: Sampling and acceptance use the same p; with `accept_on` = raw, acceptance takes the guided softmax.

    The raw distribution leaves out temperature and filters.
    """
    decoded = case.run(record_logits=True)
    decode_laws.samples_follow_from_logits(case, decoded)
    cycle_laws.verification_judges(case, decoded)
