"""MODE-EXACT: it draws the target's own image, whatever is drafted."""

from dataclasses import replace
from unittest.mock import patch

import torch
from hypothesis import example, given

from mulo_sd.conformance.rules import decode_laws, sweep_laws
from mulo_sd.conformance.rules.branches import must_reach, reach, share_of_examples
from mulo_sd.conformance.strategies.decodes import CASCADE_PARALLEL, EXACT, GIVEN, Case, cases
from mulo_sd.reference.models import Models

EXACT_CASCADE = CASCADE_PARALLEL._replace(settings=replace(CASCADE_PARALLEL.settings, mode="exact", sweep_width=5))
EXACT_GIVEN = GIVEN._replace(settings=replace(EXACT.settings, sweep_width=None))


class TestModeExact:
    """MODE-EXACT Lossless decoding.

    MODE-AR's own image of the seed, by sweeps whose first guesses are the draft: the whole image is drafted and
    up-sampled as in MODE-PARALLEL, drafters above the last verify and resample as there, and the target decides its
    grid by sweeps without a limit, without an anchor and without acceptance. A draft token that stays is the target's
    own.
    """

    @must_reach("the draft is given", "a cascade", "the draft was another", "fewer passes")
    @example(EXACT)
    @example(EXACT_CASCADE)
    @example(EXACT_GIVEN)
    @share_of_examples(1)
    @given(cases(("exact",), own_draft=True))
    def test_equals_autoregressive(self, case: Case) -> None:
        """It equals MODE-AR token for token at the same seed, for any draft, drafters, width, limit and anchor."""
        exact = case.run()
        autoregressive = case._replace(settings=replace(case.settings, mode="ar", sweep_width=1)).run()
        assert torch.equal(exact.tokens, autoregressive.tokens)
        assert exact.nfe_target <= autoregressive.nfe_target + 1
        reach("the draft is given", case.draft is not None)
        reach("a cascade", len(case.settings.drafters) > 1)
        reach("the draft was another", not torch.equal(exact.tokens, exact.trace.cycles_of(0)[0].up_sampled))
        reach("fewer passes", exact.nfe_target < autoregressive.nfe_target)

    @must_reach("a draft token is kept", "a draft token is replaced", "a wrong guess is decided as sampled")
    @example(EXACT)
    @example(EXACT_CASCADE)
    @example(EXACT_GIVEN)
    @share_of_examples(2)
    @given(cases(("exact",), own_draft=True))
    def test_verdicts(self, case: Case) -> None:
        """One cycle of the target: a draft token is kept where it is the target's own; SWEEP-1 decides the grid."""
        decoded = case.run(record_logits=True)
        sweep_laws.exact_verdicts(case, decoded)
        sweep_laws.sweeps_decide_what_is_certain(case, decoded)
        decode_laws.samples_follow_from_logits(case, decoded)
        decode_laws.passes_feed_exactly(case, decoded)
        decode_laws.passes_are_counted(case, decoded)

    @must_reach("a right draft")
    @example(EXACT)
    @share_of_examples(4)
    @given(cases(("exact",)).map(lambda case: case._replace(settings=replace(case.settings, drafters=(1,)))))
    def test_a_right_draft_takes_one_sweep(self, case: Case) -> None:
        """A draft that is the image already is decided by one sweep over all cells: two passes of the target."""
        case = case._replace(settings=replace(case.settings, sweep_width=None))
        drafted = case.run()
        with patch.object(Models, "up_sample", lambda *_: drafted.tokens):
            decoded = case.run()
        assert torch.equal(decoded.tokens, drafted.tokens)
        assert decoded.nfe_target == 2
        reach("a right draft", bool(decoded.trace.cycles_of(0)[0].kept.all()))
