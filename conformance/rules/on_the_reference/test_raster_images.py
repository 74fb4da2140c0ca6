"""SWEEP-2: sweeps draw the image of raster order, by enumeration of all guesses and on any models."""

from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import example, given

from mulo_sd.conformance.rules.branches import must_reach, reach, share_of_examples
from mulo_sd.conformance.rules.decode_case import FLOAT64
from mulo_sd.conformance.rules.on_the_reference.enumeration import Tiny, decide, fixed_points, sampled_from_all
from mulo_sd.conformance.rules.resampling_laws import decided_cells_are_certain
from mulo_sd.conformance.strategies.decodes import (
    AHEAD,
    AUTOREGRESSIVE,
    CASCADE,
    MIXED,
    PARALLEL,
    REFRESHED,
    WIDE_CASCADE,
    Case,
    cases,
)
from mulo_sd.conformance.strategies.toys import CODES
from mulo_sd.reference.largest_error import largest_error
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.state import ModelState
from mulo_sd.reference.sweeps import certain

# At most 81 images; seeds whose raster images hold more than one code.
LISTED = [
    pytest.param(Tiny(2, 2, 3, 7), Settings(mode="exact", sweep_width=1, top_p=0.9), 3, id="three codes"),
    pytest.param(Tiny(2, 3, 2, 9), Settings(mode="exact", guidance_scale=1.0, temperature=2.0), 5, id="six cells"),
]
TOKENS = st.lists(st.integers(0, 3), min_size=1, max_size=8)


def changed(case: Case, **fields: Any) -> Case:
    """Return the case with other settings."""
    return case._replace(settings=replace(case.settings, **fields))


class TestSweep2:
    """SWEEP-2 What a sweep decides.

    In each region, from the left: every cell whose sample equals its guess is decided, and so is the first whose sample
    differs, with its sample, since all before it was right. The other samples become the next guesses. So a region of n
    cells takes at most n sweeps, and one without a limit gets the tokens of raster order, whatever its guesses and its
    width, as far as arithmetic does not depend on how many tokens a pass feeds
    ([CONF-6](#conf-6-the-same-tokens-by-sweeps)). A fixed point of a sweep is the raster image.
    """

    @must_reach("all are right", "the first is wrong", "some are right")
    @example([1, 2, 3], [1, 2, 3])
    @example([1, 2, 3], [0, 2, 3])
    @example([1, 2, 3, 0], [1, 2, 0, 0])
    @given(TOKENS, TOKENS)
    def test_what_is_certain(self, guesses: list[int], samples: list[int]) -> None:
        """The cells that have nothing but right guesses before them are decided, and no other."""
        count = min(len(guesses), len(samples))
        decided_cells_are_certain(guesses[:count], samples[:count], certain)

    @pytest.mark.parametrize(("tiny", "settings", "seed"), LISTED)
    def test_every_first_guess_and_width(self, tiny: Tiny, settings: Settings, seed: int) -> None:
        """Of all images one is a fixed point; sweeps find it from every first guess, at every width.

        A region of n cells takes at most n sweeps, exactly n at width 1, and one where the guess is right. SWEEP-3: All
        decided cells that were fed end up with the keys and values that raster order writes.
        """
        [image] = fixed_points(tiny, sampled_from_all(tiny, settings, seed))
        assert len(set(image.tolist())) > 1
        world = tiny.build()
        raster = decide(tiny, world, replace(settings, sweep_width=1), seed)
        assert torch.equal(raster.tokens, image)
        fewest = tiny.cells
        for width in (*range(1, tiny.cells), None):
            for guess in tiny.grids:
                decided = decide(tiny, world, replace(settings, sweep_width=width), seed, guess)
                assert torch.equal(decided.tokens, image), f"from {guess.tolist()} at width {width}"
                assert decided.sweeps <= tiny.cells
                assert width != 1 or decided.sweeps == tiny.cells
                assert width is not None or not torch.equal(guess, image) or decided.sweeps == 1
                fewest = min(fewest, decided.sweeps)
                same_keys_and_values(raster.state, decided.state)
        assert fewest == 1

    @must_reach("several rows", "fewer passes")
    @example(AUTOREGRESSIVE, None, "above")
    @example(AUTOREGRESSIVE, 3, "opening")
    @share_of_examples(1)
    @given(cases(("ar",)), st.integers(2, 50) | st.none(), st.sampled_from(("above", "left", "opening")))
    def test_autoregressive(self, case: Case, width: int | None, first_guess: str) -> None:
        """MODE-AR is the same image at every width and with every first guess."""
        raster = changed(case, sweep_width=1).run()
        swept = changed(case, sweep_width=width, first_guess=first_guess).run()
        assert torch.equal(swept.tokens, raster.tokens)
        # A first sweep of several cells takes a pass beside the prefill, which is all that cell 0 alone needs.
        assert swept.nfe_target <= raster.nfe_target + 1
        reach("several rows", case.toy.target_height > 1)
        reach("fewer passes", swept.nfe_target < raster.nfe_target)

    @must_reach("several cycles", "fewer passes", "a cascade", "refreshed", "drafted ahead", "an anchor")
    @example(changed(MIXED, anchor=4.0), 4)
    @example(AHEAD, None)
    @example(REFRESHED, 3)
    @example(CASCADE, 2)
    @example(WIDE_CASCADE, 7)
    @share_of_examples(1)
    @given(cases(("serial",), own_draft=True), st.integers(2, 50) | st.none())
    def test_serial(self, case: Case, width: int | None) -> None:
        """MODE-SERIAL without a limit is the same image at every width, whatever its other settings are."""
        case = changed(case, sweeps=None, draft_sweeps=None)
        raster, swept = changed(case, sweep_width=1).run(), changed(case, sweep_width=width).run()
        assert torch.equal(swept.tokens, raster.tokens)
        for ours, theirs in zip(swept.trace.cycles, raster.trace.cycles, strict=True):
            assert torch.equal(ours.up_sampled, theirs.up_sampled)
            assert torch.equal(ours.resampled, theirs.resampled)
            assert torch.equal(ours.tokens, theirs.tokens)
        reach("several cycles", len(raster.trace.cycles_of(0)) > 1)
        reach("fewer passes", swept.nfe_target < raster.nfe_target)
        reach("a cascade", len(case.settings.drafters) > 1)
        reach("refreshed", case.settings.refresh and len(raster.trace.cycles_of(0)) > 1)
        reach("drafted ahead", case.settings.look_ahead > 0)
        reach("an anchor", case.settings.anchor > 0)

    @must_reach("guesses are wrong", "fewer sweeps")
    @example(AUTOREGRESSIVE, None, 1, 0)
    @example(AUTOREGRESSIVE, 3, 5, 2)
    @share_of_examples(2)
    @given(cases(("ar",)), st.integers(1, 50) | st.none(), st.integers(0, CODES - 1), st.integers(0, 3))
    def test_any_guess(self, case: Case, width: int | None, code: int, wrong: int) -> None:
        """From guesses that are right but in some rows: raster order's tokens, keys and values."""
        models, condition = case.world
        target = Tiny(case.toy.target_height, case.toy.target_width, CODES, 0)
        raster = decide(target, (models.target, condition), replace(case.settings, sweep_width=1), case.seed)
        guess = raster.tokens.clone()
        guess[wrong * target.width :: 2] = code
        settings = replace(case.settings, sweep_width=width)
        swept = decide(target, (models.target, condition), settings, case.seed, guess)
        assert torch.equal(swept.tokens, raster.tokens)
        same_keys_and_values(raster.state, swept.state)
        reach("guesses are wrong", not torch.equal(guess, raster.tokens))
        reach("fewer sweeps", swept.sweeps < raster.sweeps)

    @must_reach("a draft by fewer passes", "drafted again", "a cascade")
    @example(changed(AHEAD, first_guess="left"), 3)
    @example(WIDE_CASCADE, None)
    @share_of_examples(2)
    @given(cases(("serial", "parallel", "exact")), st.integers(1, 50) | st.none())
    def test_drafts(self, case: Case, width: int | None) -> None:
        """DRAFT-1: A draft by sweeps without a limit is the one by raster order, so the images are the same."""
        raster = changed(case, draft_by="windows", draft_window=None, sweep_width=width).run()
        swept = changed(case, draft_by="sweeps", draft_sweeps=None, sweep_width=width).run()
        assert torch.equal(swept.tokens, raster.tokens)
        for ours, theirs in zip(swept.trace.cycles, raster.trace.cycles, strict=True):
            assert torch.equal(ours.draft_tokens, theirs.draft_tokens)
        reach("a draft by fewer passes", swept.nfe_drafter < raster.nfe_drafter)
        reach("drafted again", len(swept.trace.cycles_of(0)) > 1 and case.settings.look_ahead > 0)
        reach("a cascade", len(case.settings.drafters) > 1)

    @must_reach("something is resampled", "fewer passes")
    @example(changed(PARALLEL, anchor=1.0), 4)
    @share_of_examples(2)
    @given(cases(("parallel",)), st.integers(1, 50) | st.none())
    def test_one_region(self, case: Case, width: int | None) -> None:
        """MODE-PARALLEL: Without islands and a limit, resampling by sweeps is resampling in raster order."""
        one_region = changed(case, islands=False, island_window=None, sweeps=None, sweep_width=width)
        raster, swept = (
            changed(one_region, resample_by="windows").run(),
            changed(one_region, resample_by="sweeps").run(),
        )
        assert torch.equal(swept.tokens, raster.tokens)
        reach("something is resampled", bool(swept.trace.cycles_of(0)[0].resampled.any()))
        reach("fewer passes", swept.nfe_target < raster.nfe_target)

    @must_reach("the image is another code's")
    @example(AUTOREGRESSIVE)
    @share_of_examples(8)
    @given(cases(("ar",), max_cells=20))
    def test_a_right_guess_takes_one_sweep(self, case: Case) -> None:
        """A region whose guesses are right is decided by one sweep over all its cells."""
        models, condition = case.world
        image = changed(case, sweep_width=1).run().tokens.flatten()
        settings = replace(case.settings, sweep_width=None)
        tiny = Tiny(case.toy.target_height, case.toy.target_width, case.codes, 0)
        decided = decide(tiny, (models.target, condition), settings, case.seed, image)
        assert (decided.sweeps, decided.tokens.tolist()) == (1, image.tolist())
        reach("the image is another code's", len(set(image.tolist())) > 1)


def same_keys_and_values(raster: ModelState, swept: ModelState) -> None:
    """Assert that two states hold the same keys and values of every cell that is not still to be fed."""
    first, cells = raster.model.config.prefix_length, set(range(len(raster.grid)))
    fed = [first + cell for cell in sorted(cells - raster.pending - swept.pending)]
    assert bool(raster.cache.written[fed].all())
    assert bool(swept.cache.written[fed].all())
    for ours, theirs in ((swept.cache.key, raster.cache.key), (swept.cache.value, raster.cache.value)):
        assert largest_error(ours[..., fed, :], theirs[..., fed, :], "keys and values") < FLOAT64.logits
