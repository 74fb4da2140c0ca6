"""SWEEP-1 to SWEEP-6 in whole decodes, of any models."""

from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import example, given

from mulo_sd.conformance.rules import cycle_laws, decode_laws, sweep_laws
from mulo_sd.conformance.rules.branches import must_reach, reach, share_of_examples
from mulo_sd.conformance.rules.replay import rounds_of
from mulo_sd.conformance.rules.sweeping import plan_of
from mulo_sd.conformance.strategies.decodes import (
    ALL_MODES,
    AUTOREGRESSIVE,
    CASCADE_PARALLEL,
    PARALLEL,
    WIDE_CASCADE,
    Case,
    cases,
)
from mulo_sd.reference.settings import Mode, Settings
from mulo_sd.reference.sweeps import Sweeps
from mulo_sd.reference.trace import Pass

SWEPT_MODES: tuple[Mode, ...] = tuple(mode for mode in ALL_MODES if plan_of(Settings(mode=mode), "alone").by_sweeps)


def changed(case: Case, **fields: Any) -> Case:
    """Return the case with other settings."""
    return case._replace(settings=replace(case.settings, **fields))


def swept(modes: tuple[Mode, ...] = SWEPT_MODES) -> st.SearchStrategy[Case]:
    """Decodes that draft and resample by sweeps."""
    return cases(modes, own_draft=True).map(lambda case: changed(case, draft_by="sweeps", resample_by="sweeps"))


SWEPT = changed(PARALLEL, draft_by="sweeps", resample_by="sweeps", sweep_width=2, radius=0, tau=0.1)
LIMITED = changed(SWEPT, sweeps=2, draft_sweeps=2, sweep_width=None)
SWEPT_CASCADE = changed(CASCADE_PARALLEL, draft_by="sweeps", resample_by="sweeps", sweep_width=3, anchor=4.0)
SWEPT_SERIAL = changed(WIDE_CASCADE, draft_by="sweeps", sweep_width=3, refresh=True)
WIDE = changed(AUTOREGRESSIVE, sweep_width=5)
OPENED = changed(WIDE, first_guess="opening", sweep_width=None)


class TestSweep1:
    """SWEEP-1 Sweeps.

    The noise of a cell depends on its position alone (RNG-1), so a token is a function of the tokens before it, and
    raster order finds the tokens that satisfy all these equations one at a time. A sweep guesses: one pass samples the
    first `sweep_width` undecided cells of every region, each from the tokens and guesses before it, by its own noise
    and anchor. A region is an island, or the whole set where there are no islands; regions advance on their own in the
    same pass.
    """

    @must_reach(
        "several regions are swept at once",
        "a region is swept again",
        "a sweep decides some of a region's cells",
        "a wrong guess is decided as sampled",
        "right guesses are decided at once",
        "a set takes fewer sweeps than it has cells",
    )
    @example(SWEPT)
    @example(SWEPT_CASCADE)
    @example(SWEPT_SERIAL)
    @example(WIDE)
    @share_of_examples(1)
    @given(swept())
    def test_sweeps_of_a_decode(self, case: Case) -> None:
        """SWEEP-2, SWEEP-4: Each sweep samples the first cells of every region, and decides what it must.

        A region of n cells takes at most n sweeps. Each sample is the Gumbel-max of its row with the cell's own noise
        and anchor, attempt 0, whichever sweep draws it.
        """
        decoded = case.run(record_logits=True)
        sweep_laws.sweeps_decide_what_is_certain(case, decoded)
        decode_laws.samples_follow_from_logits(case, decoded)
        decode_laws.passes_are_counted(case, decoded)

    @must_reach("a drafter resamples", "several cells are drafted in a step")
    @example(SWEPT)
    @example(SWEPT_CASCADE)
    @example(SWEPT_SERIAL)
    @share_of_examples(2)
    @given(swept(("serial", "parallel", "exact")))
    def test_cycles(self, case: Case) -> None:
        """SCHED-4: The cycles are as with windows; the verification serves the first sweep."""
        decoded = case.run()
        cycle_laws.whole_rows_are_drafted(case, decoded)
        cycle_laws.cycles_in_order(case, decoded)

    @pytest.mark.parametrize(("name", "value"), [("width", 0), ("width", -1), ("limit", 0)])
    def test_widths_from_1_on(self, name: str, value: int) -> None:
        """A width and a limit are at least 1."""
        numbers = {"width": None, "limit": None, name: value}
        with pytest.raises(ValueError, match=f"{name}: expected at least 1"):
            Sweeps(torch.ones(2, 2, dtype=torch.bool), False, **numbers)


class TestSweep3:
    """SWEEP-3 What a sweep feeds.

    A pass feeds the predecessors of the cells that it samples, the guesses of those cells that a later cell of their
    region sees, any other guess that no pass has fed, and what KV-3 asks for. A decided cell that the deciding pass fed
    with its very token is not fed again, unless a cell after it is sampled. So decided cells have the keys and values
    of right contexts.
    """

    @must_reach(
        "a pass feeds a guess that is nobody's predecessor",
        "a pass feeds a decided token that is nobody's predecessor",
        "a pass replaces the token of a position",
    )
    @example(SWEPT)
    @example(SWEPT_CASCADE)
    @example(SWEPT_SERIAL)
    @example(WIDE)
    @share_of_examples(1)
    @given(swept())
    def test_what_is_fed(self, case: Case) -> None:
        """KV-3: A pass feeds predecessors, guesses and decided tokens that its queries see, and no more."""
        decoded = case.run(record_logits=True)
        decode_laws.nothing_seen_is_gone(case, decoded)
        decode_laws.passes_feed_exactly(case, decoded)
        decode_laws.logits_follow_from_passes(case, decoded)

    @must_reach("a right guess is not fed again", "a wrong guess is fed again")
    @example(WIDE)
    @example(OPENED)
    @share_of_examples(2)
    @given(cases(("ar",)))
    def test_decided_cells_are_fed_once(self, case: Case) -> None:
        """In one region no pass feeds a decided cell whose token an earlier pass fed when or after it was decided."""
        decided: dict[int, int] = {}
        done: set[int] = set()
        for made in case.run().trace.passes:
            fed = fed_by(case, made)
            assert not done & fed.keys(), f"decided cells {sorted(done & fed.keys())} are fed again"
            reach("a wrong guess is fed again", bool(decided.keys() & fed.keys()))
            for sweep in made.sweeps:
                rows = zip(sweep.cells.tolist(), sweep.samples.tolist(), sweep.decided.tolist(), strict=True)
                decided.update({cell: token for cell, token, is_decided in rows if is_decided})
            newly_done = {cell for cell, token in fed.items() if decided.get(cell) == token} - done
            reach("a right guess is not fed again", len(newly_done) > 1)
            done |= newly_done


def fed_by(case: Case, made: Pass) -> dict[int, int]:
    """Return {cell: token} of what a pass feeds of the grid."""
    pairs = zip((made.positions - case.prefix_length).tolist(), made.tokens.tolist(), strict=True)
    return {cell: token for cell, token in pairs if cell >= 0}


class TestSweep4:
    """SWEEP-4 Limit of sweeps.

    With `sweeps` = r the r-th sweep of a resampling samples all that is left and decides it as sampled; `draft_sweeps`
    does the same for the coarsest draft. Such tokens are no longer those of raster order. MODE-AR and MODE-EXACT have
    no limit.
    """

    @must_reach("a limit decides what is not certain")
    @example(LIMITED, 1)
    @example(changed(SWEPT_CASCADE, sweep_width=1), 2)
    @share_of_examples(2)
    @given(swept(("parallel", "serial")), st.integers(1, 4))
    def test_limit(self, case: Case, limit: int) -> None:
        """No set takes more sweeps than its limit, and the last one samples all that is left of every region."""
        case = changed(case, sweeps=limit, draft_sweeps=limit + 1)
        decoded = case.run()
        sweep_laws.sweeps_decide_what_is_certain(case, decoded)
        coarsest = case.settings.model_numbers[-1]
        for number in case.settings.model_numbers:
            for _, rounds in rounds_of(case, decoded, number):
                assert len(rounds) <= limit + (number == coarsest)

    @must_reach("something is resampled")
    @example(SWEPT)
    @share_of_examples(4)
    @given(swept(("parallel", "serial")))
    def test_one_sweep_is_the_verification(self, case: Case) -> None:
        """With `sweeps` = 1 what is resampled is decided from the verification alone: a pass a cycle."""
        case = changed(case, sweeps=1)
        decoded = case.run(record_logits=True)
        assert decoded.nfe_target == 1 + len(decoded.trace.cycles_of(0))
        decode_laws.samples_follow_from_logits(case, decoded)
        cycle_laws.cycles_in_order(case, decoded)
        reach("something is resampled", any(bool(cycle.resampled.any()) for cycle in decoded.trace.cycles_of(0)))

    @must_reach("by sweeps")
    @example(SWEPT)
    @share_of_examples(4)
    @given(swept(SWEPT_MODES))
    def test_a_far_limit_is_none(self, case: Case) -> None:
        """A limit that no region needs changes nothing, and MODE-AR and MODE-EXACT have none for the target."""
        cells = case.toy.target_cells
        width = case.settings.sweep_width
        free = changed(case, sweeps=None, draft_sweeps=None, sweep_width=None if width == "auto" else width)
        limited = changed(free, sweeps=cells, draft_sweeps=cells)
        assert torch.equal(limited.run().tokens, free.run().tokens)
        if not case.settings.decoding.drafts or case.settings.decoding.is_exact:
            close = changed(free, sweeps=1, draft_sweeps=1)
            assert torch.equal(close.run().tokens, free.run().tokens)
        reach("by sweeps")


class TestSweep5:
    """SWEEP-5 First guesses.

    A cell's first guess is the token that the grid holds: its draft, or what was drafted ahead of its turn. Where it
    holds none, it is by `first_guess` the token above (in the first row the one to the left), the token to the left, or
    for every cell a draw by its own noise from the distribution of cell 0. For cell 0 it is that draw, which is the
    right one.
    """

    @must_reach(
        "the token above is the guess",
        "the token to the left is the guess",
        "an opening is the guess",
        "the grid holds the guesses",
    )
    @example(changed(WIDE, first_guess="above"))
    @example(changed(WIDE, first_guess="left"))
    @example(OPENED)
    @example(SWEPT_SERIAL)
    @share_of_examples(1)
    @given(swept())
    def test_first_guesses(self, case: Case) -> None:
        """The token that the grid holds, else the neighbour's at that moment, or a draw from p_0 by own noise."""
        decoded = case.run(record_logits=True)
        sweep_laws.first_guesses_follow(case, decoded)


class TestSweep6:
    """SWEEP-6 Automatic width.

    `sweep_width` `"auto"` leaves the width to the engine where the tokens do not depend on it: in one region without a
    limit. Everywhere else, with islands or a limit, it is `None`, so that a seed is the same image on every machine.
    Engines choose the width with the fewest expected seconds for a decided cell; the reference takes 1.
    """

    @must_reach("one region without a limit", "with islands or a limit")
    @example(changed(SWEPT, sweep_width="auto", draft_sweeps=3))
    @example(changed(AUTOREGRESSIVE, sweep_width="auto"))
    @share_of_examples(2)
    @given(swept())
    def test_automatic_width(self, case: Case) -> None:
        """The reference's "auto" is one cell a pass in one region without a limit, and all cells elsewhere."""
        case = changed(case, sweep_width="auto")
        decoded = case.run()
        for number, part, rounds in sweep_laws.sets_by_sweeps(case, decoded):
            settings, (height, width) = case.settings, case.grid(number)
            free = part in ("alone", "exact") or (settings.draft_sweeps if part == "draft" else settings.sweeps) is None
            one_region = not (part == "resample" and plan_of(settings, part).by_island)
            left = {cell for item in rounds for cell in item.decided}
            assert len(left) <= height * width
            for item in rounds:
                assert item.cells == ([min(left)] if free and one_region else sorted(left))
                left -= item.decided
            reach("one region without a limit", free and one_region)
            reach("with islands or a limit", not (free and one_region))
