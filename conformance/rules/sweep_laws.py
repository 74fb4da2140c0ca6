"""What the rules say about the sweeps of a decode, each checked on its trace.

As in decode_laws.py, a law raises AssertionError where it is broken.
"""

from collections.abc import Iterator

import torch

from mulo_sd.conformance.rules import oracles
from mulo_sd.conformance.rules.branches import reach
from mulo_sd.conformance.rules.decode_case import DecodeCase
from mulo_sd.conformance.rules.decode_laws import may_be_sampled, models_of, near_processed, recorded
from mulo_sd.conformance.rules.replay import passes_of, rounds_of
from mulo_sd.conformance.rules.sweeping import Part, Round, Sweeping, plan_of
from mulo_sd.reference.decode import Decoded


def sets_by_sweeps(case: DecodeCase, decoded: Decoded) -> Iterator[tuple[int, Part, list[Round]]]:
    """Yield what each model decides by sweeps: its number, which part of the decode it is, and the sweeps."""
    exact = case.settings.decoding.is_exact
    for number in models_of(case):
        for cycle, rounds in rounds_of(case, decoded, number):
            part: Part = "alone" if cycle is None else "draft" if cycle.draft_model == number else "resample"
            part = "exact" if part == "resample" and exact and number == 0 else part
            if rounds and plan_of(case.settings, part).by_sweeps:
                yield number, part, rounds


def sweeps_decide_what_is_certain(case: DecodeCase, decoded: Decoded) -> None:
    """SWEEP-1, SWEEP-2, SWEEP-4: each sweep samples the first cells of every region, and decides what it must.

    The replay holds each sweep's cells, guesses and decisions against the rules; here are its samples and their number.
    """
    told = 0
    for number, part, rounds in sets_by_sweeps(case, decoded):
        plan, width = plan_of(case.settings, part), case.grid(number)[1]
        longest = Sweeping({cell for item in rounds for cell in item.decided}, width, plan).longest
        most = longest if plan.limit is None else min(plan.limit, longest)
        assert len(rounds) <= most, f"model {number}: {len(rounds)} sweeps of regions of at most {longest} cells"
        told += len(rounds)
        for item in rounds:
            assert item.sweep is not None
            sampled = {cell: token for _, cell, token in item.source.sampled}
            if item.cells[0] == 0:
                sampled |= {cell: token for _, cell, token in passes_of(decoded, number)[0].sampled}
            assert sampled == item.samples, f"model {number}: a sweep tells {item.samples}, its pass {sampled}"
            is_fixed = torch.equal(item.sweep.guesses, item.sweep.samples)
            assert not is_fixed or bool(item.sweep.decided.all())
            reach("right guesses are decided at once", is_fixed and len(item.cells) > 1)
        reach("a set takes fewer sweeps than it has cells", len(rounds) < longest)
    assert told == sum(len(item.sweeps) for item in decoded.trace.passes), "the trace tells sweeps that are none"


def first_guesses_follow(case: DecodeCase, decoded: Decoded) -> None:
    """SWEEP-5: a guess is the token that the grid holds, else by `first_guess` its neighbour's or the opening's."""
    kind = case.settings.first_guess
    for number, _, rounds in sets_by_sweeps(case, decoded):
        width, prefill = case.grid(number)[1], recorded(passes_of(decoded, number)[0])
        for item in rounds:
            for cell in sorted(item.bare):
                guess = item.grid[cell]
                if cell == 0:
                    assert guess == item.samples[0], f"model {number}: cell 0 is guessed {guess}, not as it is drawn"
                elif kind == "opening":
                    noise = [oracles.gumbel(case.seed, 2 * number, cell, code) for code in range(case.codes)]
                    likely = near_processed(case, prefill[:, -1])
                    assert may_be_sampled(case, likely, noise, guess), f"model {number}, cell {cell}: guessed {guess}"
                else:
                    expected = oracles.first_guess(kind, item.grid, cell, width)
                    assert guess == expected, f"model {number}, cell {cell}: guessed {guess}, expected {expected}"
                    reach("the token above is the guess", kind == "above" and cell >= width)
                    reach("the token to the left is the guess", kind == "left" or cell < width)
                reach("an opening is the guess", kind == "opening" and cell > 0)
        reach("the grid holds the guesses", not any(item.bare for item in rounds))


def exact_verdicts(case: DecodeCase, decoded: Decoded) -> None:
    """MODE-EXACT: one cycle of the target over the whole grid; a draft token is kept where it is the target's own."""
    [cycle] = decoded.trace.cycles_of(0)
    assert (cycle.first_row, cycle.last_row, cycle.down_sampled) == (0, case.grid(0)[0], None)
    own = decoded.tokens == cycle.up_sampled
    assert torch.equal(cycle.tokens, decoded.tokens)
    assert torch.equal(cycle.kept, own), "a draft token is kept where the target's is another, or not where it is it"
    assert torch.equal(cycle.resampled, ~own)
    assert torch.equal(cycle.pooled_probs.double(), own.double())
    assert not cycle.radii.any(), "a draft token has a radius, and nothing around it is drawn again"
    reach("a draft token is kept", bool(own.any()))
    reach("a draft token is replaced", not bool(own.all()))
