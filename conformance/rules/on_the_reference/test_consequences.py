"""What follows from the rules, for any models at all; float64 makes it exact."""

from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import torch
from hypothesis import example, given

from mulo_sd.conformance.rules import decode_laws
from mulo_sd.conformance.rules.branches import must_reach, reach, share_of_examples
from mulo_sd.conformance.rules.decode_case import FLOAT64
from mulo_sd.conformance.rules.oracle_model import from_scratch
from mulo_sd.conformance.strategies.codebooks import Codebook, Judgement, judgements
from mulo_sd.conformance.strategies.decodes import (
    ACCEPTED,
    AHEAD,
    ALL_MODES,
    FILTERED,
    GIVEN,
    LOCAL_MODES,
    MIXED,
    REFRESHED,
    Case,
    cases,
)
from mulo_sd.reference.acceptance import accept
from mulo_sd.reference.codebook import neighbours, pooled_probs
from mulo_sd.reference.grid import expand
from mulo_sd.reference.largest_error import largest_error


def changed(case: Case, **fields: Any) -> Case:
    """Return the case with other settings."""
    return case._replace(settings=replace(case.settings, **fields))


@must_reach("several cycles", "refreshed", "drafted ahead", "the draft was another")
@example(MIXED)
@example(REFRESHED)
@example(GIVEN)
@share_of_examples(2)
@given(cases(own_draft=True))
def test_rejecting_everything_is_autoregressive(case: Case) -> None:
    """MODE-SERIAL: With tau = 2, no anchor and no limit it equals MODE-AR token for token at the same seed.

    This holds for any draft, drafters, draft_rows, look_ahead, refresh and width; with a width of 1 it takes a pass
    more.
    """
    everything = changed(case, tau=2.0, anchor=0.0, sweeps=None)
    serial, one_by_one = everything.run(), changed(everything, sweep_width=1).run()
    autoregressive = changed(case, mode="ar", sweep_width=1).run()
    assert torch.equal(serial.tokens, autoregressive.tokens)
    cycles = serial.trace.cycles_of(0)
    assert all(bool(cycle.resampled.all()) for cycle in cycles)
    assert torch.equal(one_by_one.tokens, autoregressive.tokens)
    assert one_by_one.nfe_target == autoregressive.nfe_target + 1
    reach("several cycles", len(cycles) > 1)
    reach("refreshed", case.settings.refresh and len(cycles) > 1)
    reach("drafted ahead", len(cycles[0].draft_tokens) > case.settings.draft_rows)
    reach("the draft was another", any(not torch.equal(cycle.tokens, cycle.up_sampled) for cycle in cycles))


@must_reach("several cycles", "below 0")
@example(MIXED, 0.0)
@example(FILTERED, -1.0)
@share_of_examples(2)
@given(cases(LOCAL_MODES, own_draft=True), st.just(0.0) | st.floats(-100, 0))
def test_accepting_everything_is_the_draft(case: Case, tau: float) -> None:
    """ACCEPT-1: With tau <= 0 each window is its own up-sampled draft, for one pass a cycle."""
    decoded = changed(case, tau=tau).run()
    cycles = decoded.trace.cycles_of(0)
    assert all(torch.equal(cycle.tokens, cycle.up_sampled) for cycle in cycles)
    assert torch.equal(decoded.tokens, torch.cat([cycle.up_sampled for cycle in cycles]))
    assert decoded.nfe_target == 1 + len(cycles)
    reach("several cycles", len(cycles) > 1)
    reach("below 0", tau < 0)


def resampled(judgement: Judgement, width: int, tau: float, radius: int, k: int) -> torch.Tensor:
    """Return R_X, Bool[H, W], by the reference's functions."""
    near = neighbours(judgement.codebook.tensor, k)
    kept = accept(pooled_probs(judgement.probs_tensor, judgement.draft_tensor, near), tau)
    return expand(~kept.reshape(-1, width), radius)


def within(smaller: torch.Tensor, larger: torch.Tensor) -> bool:
    """Return whether each cell of the one lies in the other."""
    return not bool((smaller & ~larger).any())


HALVES = Judgement(
    Codebook(((0,), (1,), (5,))), ((0.5, 0.5, 0.0), (0.1, 0.8, 0.1), (0.2, 0.2, 0.6), (0.0, 0.0, 1.0)), (0, 0, 2, 2)
)


@must_reach("tau matters", "radius matters", "k matters")
@example(HALVES, 2, (0.3, 0.55), (0, 1), (0, 1))
@given(
    judgements(6),
    st.sampled_from((1, 2, 3)),
    st.tuples(*[st.floats(0, 1.2)] * 2),
    st.tuples(*[st.integers(0, 3)] * 2),
    st.tuples(*[st.integers(0, 11)] * 2),
)
def test_monotony(
    judgement: Judgement, width: int, taus: tuple[float, float], radii: tuple[int, int], sizes: tuple[int, int]
) -> None:
    """LOCAL-1: On the same draft and p, raising tau or radius never shrinks R_X; raising k never grows it."""
    few, many = sorted(1 + size % len(judgement.codebook.rows) for size in sizes)
    (low, high), (near, far) = sorted(taus), sorted(radii)
    usual = resampled(judgement, width, low, near, few)
    strict = resampled(judgement, width, high, near, few)
    wide = resampled(judgement, width, low, far, few)
    lenient = resampled(judgement, width, low, near, many)
    assert within(usual, strict)
    assert within(usual, wide)
    assert within(lenient, usual)
    reach("tau matters", not torch.equal(usual, strict))
    reach("radius matters", not torch.equal(usual, wide))
    reach("k matters", not torch.equal(usual, lenient))


@must_reach("tau matters", "radius matters", "k matters")
@example(changed(MIXED, tau=0.1, neighbours=5, radius=0), 0.4, 2, 3)
@share_of_examples(4)
@given(cases(LOCAL_MODES), st.floats(0, 2), st.integers(1, 4), st.integers(1, 10))
def test_monotony_in_a_decode(case: Case, more_tau: float, more_radius: int, more_k: int) -> None:
    """LOCAL-1: The first cycle has the same draft and p whatever tau, radius and k: raising them acts as stated."""
    settings = case.settings
    first = case.run().trace.cycles_of(0)[0].resampled
    strict = changed(case, tau=settings.tau + more_tau).run().trace.cycles_of(0)[0].resampled
    wide = changed(case, radius=settings.radius + more_radius).run().trace.cycles_of(0)[0].resampled
    lenient = changed(case, neighbours=min(11, settings.neighbours + more_k)).run().trace.cycles_of(0)[0].resampled
    assert within(first, strict)
    assert within(first, wide)
    assert within(lenient, first)
    reach("tau matters", not torch.equal(first, strict))
    reach("radius matters", not torch.equal(first, wide))
    reach("k matters", not torch.equal(first, lenient))


@must_reach("something is kept before the first rejection", "nothing is rejected")
@example(MIXED)
@example(AHEAD)
@example(ACCEPTED)
@share_of_examples(2)
@given(cases(LOCAL_MODES, own_draft=True))
def test_large_radius_is_raster_scan_rejection(case: Case) -> None:
    """LOCAL-1: With radius >= max(H, W), R_X is everything of the window from the first rejection on."""
    decoded = changed(case, radius=max(case.toy.target_height, case.toy.target_width), radius_nats=0.0).run()
    for cycle in decoded.trace.cycles_of(0):
        kept = cycle.kept.flatten().tolist()
        first = kept.index(False) if False in kept else len(kept)
        assert cycle.resampled.flatten().tolist() == [index >= first for index in range(len(kept))]
        reach("something is kept before the first rejection", 0 < first < len(kept))
        reach("nothing is rejected", first == len(kept))


def distance_from_scratch(case: Case) -> float:
    """Return how far the verifications' logits are from those of a full recomputation, at most."""
    decoded = case.run(record_logits=True)
    width, prefix, furthest = case.toy.target_width, case.toy.prefix_length, 0.0
    done: list[int] = []
    for cycle in decoded.trace.cycles_of(0):
        tokens = done + cycle.up_sampled.flatten().tolist()
        verified = decoded.trace.passes[cycle.verify_pass]
        row_of = {cell: row for row, cell in enumerate((verified.positions - prefix).tolist())}
        for row, condition in enumerate(decode_laws.conditions(case)):
            expected = from_scratch(case.world.models.target, condition, tokens[:-1])
            for cell in range(max(1, cycle.first_row * width), len(tokens)):
                result = decode_laws.recorded(verified)[row, row_of[cell - 1]].numpy()
                furthest = max(furthest, largest_error(result, expected[cell], f"logits of cell {cell}"))
        done += cycle.tokens.flatten().tolist()
    return furthest


@must_reach("without refresh it is not so")
@example(REFRESHED)
@share_of_examples(2)
@given(cases(max_cells=36))
def test_refresh_recomputes(case: Case) -> None:
    """KV-4: `refresh` makes the verification's p equal a full recomputation from scratch."""
    assert distance_from_scratch(changed(case, refresh=True)) < FLOAT64.logits
    reach("without refresh it is not so", distance_from_scratch(changed(case, refresh=False)) > 1e-4)


@must_reach("another seed, another image")
@example(MIXED)
@share_of_examples(4)
@given(cases(ALL_MODES, own_draft=True))
def test_same_seed_same_image(case: Case) -> None:
    """CONF-5: The same seed and settings give the same image and the same passes in every run."""
    one, two = case.run(), case.run(record_logits=True)
    assert torch.equal(one.tokens, two.tokens)
    for ours, theirs in zip(one.trace.passes, two.trace.passes, strict=True):
        assert ours.sampled == theirs.sampled
        assert torch.equal(ours.positions, theirs.positions)
        assert torch.equal(ours.tokens, theirs.tokens)
    other = case._replace(seed=case.seed ^ 1).run()
    reach("another seed, another image", not torch.equal(one.tokens, other.tokens))


@must_reach("a cycle without rejection", "a cycle with rejection")
@example(MIXED)
@example(ACCEPTED)
@share_of_examples(2)
@given(cases(ALL_MODES, own_draft=True))
def test_numbers_of_passes(case: Case) -> None:
    """MODE-AR, MODE-SERIAL: N tokens take N passes; serial: one prefill, then for each cycle 1 + max(0, |R_X| - 1).

    The drafter takes one pass a drafted token; its prefill serves the first of them.
    """
    decoded = case.run()
    decode_laws.passes_are_counted(case, decoded)
    longest = replace(case.settings, draft_rows=case.toy.height)
    if case.settings.decoding.is_local and case.settings.decoding.by_rows:
        assert len(case._replace(settings=longest).run().trace.cycles_of(0)) == 1
