"""What MODE-EXACT says of the target's cycles in a decode, each checked on its trace.

That these decisions give the target's own distribution is shown by enumeration (test_exact.py).
"""

from collections.abc import Iterator
from typing import NamedTuple

from mulo_sd.conformance.rules import oracles
from mulo_sd.conformance.rules.branches import NEAR_TIE, reach
from mulo_sd.conformance.rules.decode_case import DecodeCase
from mulo_sd.conformance.rules.decode_laws import may_be_sampled, near_processed, recorded
from mulo_sd.conformance.rules.replay import passes_of
from mulo_sd.reference.decode import Decoded
from mulo_sd.reference.trace import Cycle, Pass


class Decision(NamedTuple):
    """A draft token accepted or replaced, and the pass whose logits decided it."""

    cell: int
    draft_token: int
    token: int
    kept: bool
    source: Pass
    row: int


def decisions(case: DecodeCase, decoded: Decoded, cycle: Cycle) -> Iterator[Decision]:
    """Tell a cycle of the target: each pass scores at most `exact_window` cells and serves up to a rejection."""
    own = passes_of(decoded, 0)
    at = next(index for index, item in enumerate(own) if item is decoded.trace.passes[cycle.verify_pass])
    width = cycle.kept.shape[1]
    window = range(cycle.first_row * width, cycle.last_row * width)
    kept, tokens = cycle.kept.flatten().tolist(), cycle.tokens.flatten().tolist()
    draft, most = cycle.up_sampled.flatten().tolist(), case.settings.exact_window or len(window)
    cell = window.start
    while cell < window.stop:
        scored, made = range(cell, min(cell + most, window.stop)), own[at]
        if scored == range(1):
            made = own[0]  # cell 0 alone needs no pass of its own
        else:
            at += 1
        row_of = {offset: row for row, offset in enumerate((made.positions - case.prefix_length).tolist())}
        for cell in scored:
            offset, source = cell - window.start, made if cell else own[0]
            row = row_of[cell - 1] if cell else case.prefix_length - 1
            yield Decision(cell, draft[offset], tokens[offset], kept[offset], source, row)
            if not kept[offset]:
                reach("what follows a rejection is verified again", cell + 1 < scored.stop)
                break
        cell += 1


def draft_tokens_are_accepted_by_their_probability(case: DecodeCase, decoded: Decoded) -> None:
    """MODE-EXACT, RNG-2: a draft token stays if U < p of it; else the token is drawn from p without it."""
    for cycle in decoded.trace.cycles_of(0):
        assert not cycle.radii.any(), "a rejection has a radius, and nothing around it is drawn again"
        assert bool((cycle.resampled != cycle.kept).all()), "R_X is not what was rejected"
        for item in decisions(case, decoded, cycle):
            likely = near_processed(case, recorded(item.source)[:, item.row])
            draw = (oracles.word(case.seed, 1, item.cell, 0) + 0.5) / oracles.WORD
            others = [prob for code, prob in enumerate(likely[0]) if code != item.draft_token]
            expected = draw < likely[0][item.draft_token] or not any(others)
            near_tie = any(abs(draw - probs[item.draft_token]) <= case.rounding.probs for probs in likely)
            assert item.kept == expected or near_tie, (
                f"cell {item.cell}: {'kept' if item.kept else 'rejected'} at U {draw:.6g}, "
                f"p {likely[0][item.draft_token]:.6g}"
            )
            reach(NEAR_TIE, item.kept != expected)
            reach("a draft token is kept" if item.kept else "a draft token is replaced")
            residuals = {cell: token for row, cell, token in item.source.residuals if row == item.row}
            assert (item.cell in residuals) != item.kept, f"cell {item.cell}: drawn and kept, or neither"
            traced = float(cycle.pooled_probs.flatten()[item.cell - cycle.first_row * cycle.kept.shape[1]])
            off = min(abs(traced - probs[item.draft_token]) for probs in likely)
            assert off <= case.rounding.probs, (
                f"cell {item.cell}: the trace tells p {traced:.6g}, expected {likely[0][item.draft_token]:.6g}"
            )
            if item.kept:
                assert item.token == item.draft_token
                continue
            assert residuals[item.cell] == item.token
            noise = [oracles.gumbel(case.seed, 0, item.cell, code) for code in range(case.codes)]
            without = [[0.0 if code == item.draft_token else p for code, p in enumerate(probs)] for probs in likely]
            assert may_be_sampled(case, without, noise, item.token), f"cell {item.cell}: drew {item.token}"
