"""DIST-1 and DIST-2."""

import pytest
import torch
from hypothesis import example, given

from mulo_sd.conformance.rules import cycle_laws, decode_laws, function_laws
from mulo_sd.conformance.rules.branches import must_reach, share_of_examples
from mulo_sd.conformance.strategies.decodes import FILTERED, LOCAL_MODES, MIXED, Case, cases
from mulo_sd.conformance.strategies.logits import Logits, logits
from mulo_sd.reference.sampling import target_probs

TIES = Logits((1.0, 2.0, 2.0, 0.0), None, 1.0, 1.0, 1, 1.0)
NUCLEUS = Logits((0.0, 3.0, 1.0, 2.0), None, 1.0, 1.0, 3, 0.3)
EQUAL = Logits((1.0, 1.0, 1.0, 1.0), None, 1.0, 0.5, 0, 0.5)
GUIDED = Logits((0.0, 1.0, 0.5), (1.0, 0.0, 0.5), 2.0, 0.5, 0, 0.9)
GREEDY = Logits((0.0, 1.0, 1.0), (1.0, 0.0, 0.0), 2.0, 0.0, 0, 1.0)


class TestDist1:
    """DIST-1 Distribution of a cell.

    p_u is made in this order: guidance, uncond + scale * (cond - uncond); division by the temperature; top-k, which
    keeps every logit that reaches the k-th largest, ties included; top-p, which drops a code where the more likely ones
    sum to more than the threshold, and keeps it where they sum to the threshold exactly; equal logits rank by code, the
    lower first; softmax in float32 or better. Temperature 0 puts all mass on the largest logit, of equal ones on the
    lowest code.
    """

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16], ids=str)
    @must_reach(
        "greedy",
        "top-k drops some",
        "top-k keeps a tie",
        "top-p drops some",
        "top-p keeps one",
        "top-p is met exactly",
        "guidance matters",
    )
    @example(logits=TIES)
    @example(logits=NUCLEUS)
    @example(logits=EQUAL)
    @example(logits=GUIDED)
    @example(logits=GREEDY)
    @given(logits=logits())
    def test_distribution(self, logits: Logits, dtype: torch.dtype) -> None:
        """P is made by guidance, then temperature, then top-k, then top-p, then softmax in fp32 or better.

        Guidance is uncond + scale * (cond - uncond). Top-k keeps every logit that reaches the k-th largest. Top-p
        keeps the token that crosses the threshold, and the one after a sum that equals it; of equal logits the lower
        token ranks first. Temperature 0 is greedy: everything on the (first) largest logit.
        """
        function_laws.probs_follow(logits, dtype, target_probs)


class TestDist2:
    """DIST-2 Processed and raw probabilities.

    Sampling always uses this p_u. Acceptance uses the same (`accept_on = "processed"`) or the guided softmax without
    temperature and filters (`"raw"`).
    """

    @must_reach("some kept, some rejected", "what acceptance looks at is not what is sampled from")
    @example(MIXED)
    @example(FILTERED)
    @share_of_examples(2)
    @given(cases(LOCAL_MODES))
    def test_one_distribution(self, case: Case) -> None:
        """Sampling and acceptance use the same p; with `accept_on` = raw, acceptance takes the guided softmax.

        The raw distribution leaves out temperature and filters.
        """
        decoded = case.run(record_logits=True)
        decode_laws.samples_follow_from_logits(case, decoded)
        cycle_laws.verification_judges(case, decoded)
