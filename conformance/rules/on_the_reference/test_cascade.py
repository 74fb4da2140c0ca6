"""CASCADE-1: drafters of drafters."""

from dataclasses import replace

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import example, given

from mulo_sd.conformance.rules import cycle_laws, decode_laws
from mulo_sd.conformance.rules.branches import must_reach, reach, share_of_examples
from mulo_sd.conformance.rules.replay import cycles_together
from mulo_sd.conformance.strategies.decodes import (
    CASCADE,
    CASCADE_PARALLEL,
    LOCAL_MODES,
    MIXED,
    SEEDS,
    WIDE_CASCADE,
    Case,
    settings_of,
)
from mulo_sd.conformance.strategies.toys import Toy
from mulo_sd.reference.settings import Mode, Settings


@st.composite
def cascades(draw: st.DrawFn, modes: tuple[Mode, ...] = ("serial", "parallel", "exact")) -> Case:
    """Decodes by three models, as tall, as wide and as small as a cascade of halves can be."""
    height, width = draw(st.sampled_from(((2, 4), (4, 2), (2, 2), (4, 4))))
    ratio = draw(st.sampled_from((2, 1))) if height * width < 16 else 1
    toy = Toy(height, width, ratio, draw(st.integers(1, 2)), 1, 1.5, draw(st.integers(0, 2**32 - 1)), coarse_ratio=2)
    settings = draw(settings_of(toy, draw(st.sampled_from(modes))))
    return Case(toy, replace(settings, drafters=(1, 2)), draw(SEEDS))


@must_reach("a pass replaces the token of a position", "a verification feeds a window again")
@example(CASCADE)
@example(WIDE_CASCADE)
@example(CASCADE._replace(settings=replace(CASCADE.settings, refresh=True)))
@share_of_examples(2)
@given(cascades())
def test_caches_of_all_levels(case: Case) -> None:
    """KV-3, KV-4: No query of any model sees a token that its grid lacks, and each pass feeds these and no more."""
    decoded = case.run(record_logits=True)
    decode_laws.nothing_seen_is_gone(case, decoded)
    decode_laws.passes_feed_exactly(case, decoded)
    decode_laws.logits_follow_from_passes(case, decoded)


@must_reach("verified rows differ from the draft", "the nearest code is clear")
@example(CASCADE)
@example(WIDE_CASCADE)
@share_of_examples(2)
@given(cascades())
def test_scaling_of_all_levels(case: Case) -> None:
    """SCALE-1, SCALE-2: Each level's rows are up-sampled from the known rows below; D_r runs down all levels."""
    cycle_laws.scaling_uses_known_rows(case, case.run())


class TestCascade1:
    """CASCADE-1 Cascade of drafters.

    `drafters` lists the models that take part after the target, from finer to coarser grids. The last one samples. Each
    other one decides rows as the target does: from a proposal drafted one level below, up-sampled, verified and
    resampled by the same tau, radius, neighbours and anchor. Rows a..b of a level need the rows a div r to ceil(b / r)
    of the level below, and `look_ahead` more in that level's own rows; a row that is only begun is drafted again. With
    one drafter this is the paper's method, at whatever ratio that drafter has.
    """

    @must_reach("a draft is drafted", "rows are drafted ahead", "a row is drafted for half of what lies over it")
    @example(CASCADE)
    @example(WIDE_CASCADE)
    @example(CASCADE_PARALLEL)
    @share_of_examples(2)
    @given(cascades())
    def test_bookkeeping(self, case: Case) -> None:
        """Each level's rows are drafted by the level below: its cycle decides just the rows that are proposed.

        A row of a coarser grid that lies only partly under a window is drafted for it, and again for the next.
        """
        decoded = case.run()
        cycle_laws.whole_rows_are_drafted(case, decoded)
        decode_laws.passes_are_counted(case, decoded)
        assert {cycle.model for cycle in decoded.trace.cycles} == {0, 1}
        assert len(decoded.trace.cycles) == 2 * len(cycles_together(decoded))

    @must_reach("a drafter resamples", "several cells in a step")
    @example(CASCADE)
    @example(WIDE_CASCADE)
    @example(CASCADE_PARALLEL)
    @share_of_examples(2)
    @given(cascades(LOCAL_MODES))
    def test_drafters_verify(self, case: Case) -> None:
        """A drafter verifies and resamples what is drafted for it as the target does, with its own noise."""
        decoded = case.run(record_logits=True)
        cycle_laws.cycles_in_order(case, decoded)
        cycle_laws.verification_judges(case, decoded)
        cycle_laws.rejections_grow(case, decoded)
        cycle_laws.radii_follow(case, decoded)
        decode_laws.samples_follow_from_logits(case, decoded)

    @must_reach("several cycles", "the draft was another")
    @example(CASCADE)
    @example(WIDE_CASCADE)
    @share_of_examples(2)
    @given(cascades(LOCAL_MODES))
    def test_rejecting_everything_is_autoregressive(self, case: Case) -> None:
        """With tau = 2 the target alone decides: MODE-AR's tokens, whatever is drafted below."""
        everything = case._replace(
            settings=replace(case.settings, tau=2.0, anchor=0.0, island_window=None, sweeps=None)
        )
        decoded = everything.run()
        assert torch.equal(decoded.tokens, case._replace(settings=replace(case.settings, mode="ar")).run().tokens)
        # Rounds judge by another rule than tau (METHOD-4).
        judging = [cycle for cycle in decoded.trace.cycles if cycle.model == 0 or case.settings.refine_by == "local"]
        assert all(bool(cycle.resampled.all()) for cycle in judging)
        cycles = decoded.trace.cycles_of(0)
        reach("several cycles", len(cycles) > 1)
        reach("the draft was another", any(not torch.equal(cycle.tokens, cycle.up_sampled) for cycle in cycles))

    @must_reach("several cycles")
    @example(CASCADE)
    @example(WIDE_CASCADE)
    @share_of_examples(4)
    @given(cascades())
    def test_a_model_left_out_takes_no_part(self, case: Case) -> None:
        """`drafters` names the models that take part, the one next to the target first; others cost nothing."""
        for drafters in ((1,), (2,)):
            decoded = case._replace(settings=replace(case.settings, drafters=drafters)).run()
            assert {item.model for item in decoded.trace.passes} == {0, *drafters}
            assert {(cycle.model, cycle.draft_model) for cycle in decoded.trace.cycles} == {(0, drafters[0])}
            reach("several cycles", len(decoded.trace.cycles) > 1)

    @pytest.mark.parametrize("drafters", [(2,), (1, 2), (1, 3)])
    def test_drafters_are_there(self, drafters: tuple[int, ...]) -> None:
        """A drafter that is not there is an error that names the setting."""
        with pytest.raises(ValueError, match=r"drafters: expected models in 1\.\.1"):
            MIXED._replace(settings=replace(MIXED.settings, drafters=drafters)).run()

    @pytest.mark.parametrize("drafters", [(), (0,), (2, 1), (1, 1)])
    def test_drafters_ascend(self, drafters: tuple[int, ...]) -> None:
        """Drafters are numbers from 1 on, each coarser than the one before, at least one."""
        with pytest.raises(ValueError, match="drafters"):
            Settings(drafters=drafters)
