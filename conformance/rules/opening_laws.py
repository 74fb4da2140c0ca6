"""What the rules say about first tokens of rows under the adaptive window, checked on a trace (SCHED-5)."""

from mulo_sd.conformance.rules import oracles
from mulo_sd.conformance.rules.branches import reach
from mulo_sd.conformance.rules.decode_case import DecodeCase
from mulo_sd.conformance.rules.decode_laws import may_be_sampled, processed, recorded
from mulo_sd.conformance.rules.replay import passes_of
from mulo_sd.reference.decode import Decoded


def repredictions_follow(case: DecodeCase, decoded: Decoded) -> None:
    """SCHED-5: a held token is accepted with probability min(1, p_new / p_old), else drawn from what p_new has more."""
    held: dict[int, tuple[int, list[float], int]] = {}  # cell -> token, its p, attempts
    for item in passes_of(decoded, 0):
        for row, cell, token in item.sampled:
            held[cell] = (token, processed(case, recorded(item)[:, row]), 0)
        for again in item.repredicted:
            assert int(item.positions[again.row]) == case.prefix_length + again.cell - 1
            token, old, attempts = held[again.cell]
            what = f"cell {again.cell}, attempt {again.attempt}"
            assert (again.held_token, again.attempt) == (token, attempts + 1), (
                f"{what}: predicts {again.held_token} again"
            )
            new = processed(case, recorded(item)[:, again.row])
            draw = (oracles.word(case.seed, 1, again.cell, 0, again.attempt) + 0.5) / oracles.WORD
            near_tie = abs(draw * old[token] - new[token]) <= case.rounding.probs
            assert again.kept == (draw * old[token] < new[token]) or near_tie, (
                f"{what}: {'kept' if again.kept else 'rejected'} at U {draw:.6g}, p_old {old[token]:.6g}, "
                f"p_new {new[token]:.6g}"
            )
            if not again.kept:
                noise = [oracles.gumbel(case.seed, 0, again.cell, code, again.attempt) for code in range(case.codes)]
                more = [max(0.0, after - before) for before, after in zip(old, new, strict=True)]
                assert may_be_sampled(case, [more], noise, again.token), (
                    f"{what}: drew {again.token}, expected {oracles.sampled(more, noise)}"
                )
            else:
                assert again.token == token
            held[again.cell] = (again.token, new, again.attempt)
            reach("an opening token is kept", again.kept)
            reach("an opening token is drawn anew", not again.kept)
            reach("an opening token is predicted a third time", again.attempt > 1)
    assert decoded.tokens.flatten().tolist() == [held[cell][0] for cell in range(decoded.tokens.numel())]
