"""MODE-PARALLEL."""

from dataclasses import replace

import hypothesis.strategies as st
import torch
from hypothesis import example, given

from mulo_sd.conformance.rules import cycle_laws, decode_laws
from mulo_sd.conformance.rules.branches import must_reach, reach, share_of_examples
from mulo_sd.conformance.strategies.decodes import ISLANDS, PARALLEL, Case, cases


class TestModeParallel:
    """MODE-PARALLEL Parallel resampling.

    The paper's second version: the last drafter draws its whole grid with `draft_window`; each level above is
    up-sampled once, verified in one pass, and its islands are resampled at the same time with `island_window`, or by
    sweeps.
    """

    @must_reach(
        "several cells in a step",
        "several cells are drafted in a step",
        "a cycle without rejection",
        "a cycle with rejection",
    )
    @example(PARALLEL)
    @example(ISLANDS)
    @example(PARALLEL._replace(settings=replace(PARALLEL.settings, tau=0.0)))
    @share_of_examples(1)
    @given(cases(("parallel",), own_draft=True))
    def test_parallel(self, case: Case) -> None:
        """One ZipAR draft of the whole grid, one verification, R_X by its schedule of islands.

        Passes of the target: the prefill, the verification, and one for each step of resampling but the first.
        """
        decoded = case.run()
        assert len(decoded.trace.cycles_of(0)) == 1
        cycle_laws.cycles_in_order(case, decoded)
        cycle_laws.whole_rows_are_drafted(case, decoded)
        decode_laws.passes_are_counted(case, decoded)

    @must_reach("by island", "as one set", "by sweeps", "the draft was another")
    @example(PARALLEL)
    @example(PARALLEL._replace(settings=replace(PARALLEL.settings, islands=False)))
    @example(PARALLEL._replace(settings=replace(PARALLEL.settings, resample_by="sweeps", sweep_width=3)))
    @share_of_examples(2)
    @given(cases(("parallel",), own_draft=True))
    def test_rejecting_everything_is_autoregressive(self, case: Case) -> None:
        """With tau = 2, an infinite window or sweeps without a limit, and no anchor it is MODE-AR's image."""
        settings = replace(case.settings, tau=2.0, island_window=None, anchor=0.0, sweeps=None)
        parallel = case._replace(settings=settings).run()
        autoregressive = case._replace(settings=replace(case.settings, mode="ar", sweep_width=1)).run()
        assert torch.equal(parallel.tokens, autoregressive.tokens)
        by_sweeps = case.settings.resample_by == "sweeps"
        assert by_sweeps or parallel.nfe_target == autoregressive.nfe_target + 1
        assert parallel.nfe_target <= autoregressive.nfe_target + 1
        reach("by sweeps", by_sweeps)
        reach("by island", case.settings.islands)
        reach("as one set", not case.settings.islands)
        reach("the draft was another", not torch.equal(parallel.trace.cycles_of(0)[0].up_sampled, parallel.tokens))

    @must_reach("below 0")
    @example(PARALLEL, 0.0)
    @example(PARALLEL, -1.0)
    @share_of_examples(2)
    @given(cases(("parallel",), own_draft=True), st.just(0.0) | st.floats(-100, 0))
    def test_accepting_everything_is_the_draft(self, case: Case, tau: float) -> None:
        """With tau <= 0 the image is its up-sampled draft, after two passes of the target."""
        decoded = case._replace(settings=replace(case.settings, tau=tau)).run()
        models, low, high = case.world.models, decoded.trace.cycles_of(0)[0].draft_tokens, decoded.tokens
        ratio = models.scale_ratio(0, case.settings.drafters[0])
        assert torch.equal(high, models.up_sample(case.settings.up_sampler, low, ratio))
        assert decoded.nfe_target == 2
        assert not any(item.repredicted for item in decoded.trace.passes)  # adaptive windows are MODE-ZIPAR's alone
        reach("below 0", tau < 0)

    @must_reach("fewer passes by island", "fewer passes with a window")
    @example(ISLANDS)
    @share_of_examples(2)
    @given(cases(("parallel",), own_draft=True))
    def test_islands_and_windows_save_passes(self, case: Case) -> None:
        """On the same draft and p, islands and a finite window never take more passes of the target."""
        case = case._replace(settings=replace(case.settings, resample_by="windows"))

        def passes(islands: bool, island_window: int | None = case.settings.island_window) -> int:
            settings = replace(case.settings, islands=islands, island_window=island_window)
            return case._replace(settings=replace(settings, drafters=settings.drafters[-1:])).run().nfe_target

        usual, together, unlimited = (
            passes(islands=True),
            passes(islands=False),
            passes(islands=True, island_window=None),
        )
        assert usual <= together
        assert usual <= unlimited
        reach("fewer passes by island", usual < together)
        reach("fewer passes with a window", usual < unlimited)
