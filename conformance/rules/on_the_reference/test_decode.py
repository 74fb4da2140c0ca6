"""DRAFT-1, VERIFY-1, SCHED-4, MODE-AR and MODE-SERIAL."""

from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import example, given

from mulo_sd.conformance.rules import cycle_laws, decode_laws, oracles
from mulo_sd.conformance.rules.branches import must_reach, reach, share_of_examples
from mulo_sd.conformance.rules.decode_case import FLOAT64
from mulo_sd.conformance.rules.moments import PREFILL
from mulo_sd.conformance.rules.oracle_model import DictionaryModel, from_scratch
from mulo_sd.conformance.rules.replay import passes_of, resampled_cells
from mulo_sd.conformance.strategies.decodes import (
    ACCEPTED,
    AHEAD,
    AUTOREGRESSIVE,
    DRAFTED_MODES,
    FILTERED,
    GIVEN,
    LOCAL_MODES,
    MIXED,
    REFRESHED,
    Case,
    cases,
)
from mulo_sd.conformance.strategies.toys import CODES
from mulo_sd.reference.decode import decode
from mulo_sd.reference.settings import Settings


class TestVerify1:
    """VERIFY-1 Verification in one pass.

    One pass of the target scores every position of the window. It feeds their predecessors, and by KV-3 whatever was
    decided since the last pass.
    """

    @must_reach("some kept, some rejected")
    @example(MIXED)
    @example(FILTERED)
    @share_of_examples(2)
    @given(cases(LOCAL_MODES, own_draft=True))
    def test_verification(self, case: Case) -> None:
        """One pass of the target scores every position of the window; pooled over B_k it is held against tau."""
        decoded = case.run(record_logits=True)
        cycle_laws.verification_judges(case, decoded)
        decode_laws.passes_are_counted(case, decoded)


@must_reach("R_X is more than the rejected cells", "R_X is not the whole rest")
@example(MIXED)
@example(AHEAD)
@share_of_examples(2)
@given(cases(LOCAL_MODES, own_draft=True))
def test_rejections_in_a_decode(case: Case) -> None:
    """LOCAL-1: Each cycle resamples R_X of the window's rejections, and no other cell."""
    cycle_laws.rejections_grow(case, case.run())


class TestModeSerial:
    """MODE-SERIAL Serial resampling.

    The paper's first version: cycles as above, rows drafted with `draft_window` (the paper drafts in raster order:
    `None`, or in fewer passes `draft_by` `"sweeps"`), R_X resampled in raster order, by sweeps.
    """

    @must_reach("two cells or more are resampled", "a cycle without rejection", "a cycle with rejection")
    @example(MIXED)
    @example(ACCEPTED)
    @example(REFRESHED)
    @share_of_examples(1)
    @given(cases(own_draft=True))
    def test_serial(self, case: Case) -> None:
        """The windows are `draft_rows` low-resolution rows each, in order; R_X is resampled in raster order.

        What is not in R_X stays as drafted. SCHED-4: The first cell is sampled from the verification's distributions,
        without a pass; each later one from the one pass before it.
        """
        decoded = case.run()
        cycle_laws.cycles_in_order(case, decoded)
        decode_laws.passes_are_counted(case, decoded)


class TestSched4:
    """SCHED-4 The first step of resampling.

    The first step of a resampling schedule draws from the distributions of the verification, without a pass of its own:
    they are equal.
    """

    @must_reach("first cell of the grid", "later cell")
    @example(MIXED)
    @example(MIXED._replace(settings=Settings(tau=2.0, draft_rows=3, neighbours=3)))
    @share_of_examples(2)
    @given(cases(LOCAL_MODES))
    def test_first_step(self, case: Case) -> None:
        """What the verification says of the first resampled cell is what a pass of its own would say."""
        decoded = case.run(record_logits=True)
        width, prefix = case.toy.target_width, case.toy.prefix_length
        oracle = DictionaryModel(case.world.models.target, case.world.condition.cond)
        cycle_of = {cycle.verify_pass: cycle for cycle in decoded.trace.cycles_of(0)}
        for index, item in enumerate(decoded.trace.passes):
            if item.model != 0:
                continue
            oracle.feed(dict(zip(item.positions.tolist(), item.tokens.tolist(), strict=True)))
            if index not in cycle_of or not cycle_of[index].resampled.any():
                continue
            cell = resampled_cells(cycle_of[index], width)[0]
            before = int(decoded.tokens.flatten()[cell - 1]) if cell else PREFILL
            expected = oracle.feed({prefix + cell - 1: before})[prefix + cell - 1]
            source = item if cell else passes_of(decoded, 0)[0]
            row = source.positions.tolist().index(prefix + cell - 1)
            logits = decode_laws.recorded(source)[0, row].numpy()
            np.testing.assert_allclose(logits, expected, rtol=0, atol=FLOAT64.logits)
            reach("first cell of the grid", cell == 0)
            reach("later cell", cell > 0)


class TestDraft1:
    """DRAFT-1 Rows that are drafted.

    The drafter samples whole rows: `draft_rows` of them (serial) or its whole grid (parallel). With `look_ahead`, so
    many further rows are drafted only to give the up-sampler context below the window; the next cycle drafts them
    again.
    """

    @must_reach("rows are drafted ahead", "the last rows are fewer")
    @example(AHEAD)
    @example(FILTERED)
    @example(GIVEN)
    @share_of_examples(2)
    @given(cases(DRAFTED_MODES, own_draft=True))
    def test_drafting(self, case: Case) -> None:
        """The drafter samples whole rows, `draft_rows` a cycle, and `look_ahead` further rows as far as there are.

        The further rows are context of the up-sampler only, and are drafted again in the next cycle.
        """
        cycle_laws.whole_rows_are_drafted(case, case.run())

    @must_reach("rows are drafted ahead")
    @example(MIXED)
    @example(AHEAD)
    @share_of_examples(2)
    @given(cases())
    def test_rows_drafted_ahead_are_forgotten(self, case: Case) -> None:
        """What was drafted ahead is no decision: no pass of the next cycle feeds it before it is drafted again."""
        case = case._replace(settings=replace(case.settings, drafters=(1,), draft_window=None, draft_by="windows"))
        decoded = case.run()
        cycle_laws.whole_rows_are_drafted(case, decoded)
        width, prefix = case.toy.width, case.toy.prefix_length
        passes = iter(passes_of(decoded, 1)[1:])
        for cycle in decoded.trace.cycles_of(0):
            first = cycle.draft_first_row * width
            for cell in range(max(first, 1), first + cycle.draft_tokens.numel()):
                assert int(next(passes).positions.max()) == prefix + cell - 1

    @share_of_examples(8)
    @given(cases(), st.sampled_from(((1, 0), (0, 1), (1, 1))))
    def test_given_drafts_have_the_drafters_shape(self, case: Case, extra: tuple[int, int]) -> None:
        """A given draft has exactly the drafter's grid."""
        models, condition = case.world
        wrong = torch.zeros(case.toy.height + extra[0], case.toy.width + extra[1], dtype=torch.long)
        with pytest.raises(ValueError, match="draft"):
            decode(models, condition, case.settings, case.seed, wrong)


class TestModeAr:
    """MODE-AR Autoregressive decoding.

    The target decodes its grid in raster order, by sweeps of `sweep_width`.
    """

    @must_reach("sampled against the odds")
    @example(AUTOREGRESSIVE)
    @example(AUTOREGRESSIVE._replace(settings=replace(AUTOREGRESSIVE.settings, sweep_width=5)))
    @share_of_examples(4)
    @given(cases(modes=("ar",), max_cells=20))
    def test_autoregressive(self, case: Case) -> None:
        """Every cell is drawn given all before it, whatever the width; at width 1 N passes for N tokens, no drafter."""
        decoded = case.run()
        decode_laws.passes_are_counted(case, decoded)
        models = case.world.models
        tokens: list[int] = []
        while len(tokens) < case.toy.target_cells:
            rows = [from_scratch(models.target, prefix, tokens)[-1] for prefix in decode_laws.conditions(case)]
            noise = [oracles.gumbel(case.seed, 0, len(tokens), code) for code in range(CODES)]
            target_probs = decode_laws.processed(case, rows)
            tokens.append(oracles.sampled(target_probs, noise))
            reach("sampled against the odds", target_probs[tokens[-1]] < max(target_probs))
        assert decoded.tokens.shape == (case.toy.target_height, case.toy.target_width)
        assert decoded.tokens.flatten().tolist() == tokens
        decode_laws.samples_follow_from_logits(case, case.run(record_logits=True))

    @share_of_examples(8)
    @given(cases(("ar", "zipar")))
    def test_no_draft_where_nothing_is_drafted(self, case: Case) -> None:
        """MODE-AR, MODE-ZIPAR: The target alone decodes; a given draft would be the image, and is an error."""
        models, condition = case.world
        image = torch.zeros(case.toy.target_height, case.toy.target_width, dtype=torch.long)
        with pytest.raises(ValueError, match=f"draft: expected none in mode {case.settings.mode}"):
            decode(models, condition, case.settings, case.seed, image)
