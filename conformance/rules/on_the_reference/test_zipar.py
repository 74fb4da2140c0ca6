"""MODE-ZIPAR, SCHED-3 and SCHED-5."""

from dataclasses import dataclass, field, replace
from typing import cast

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import example, given
from torch import Tensor

from mulo_sd.conformance.rules import decode_laws, opening_laws, resampling_laws
from mulo_sd.conformance.rules.branches import must_reach, reach, share_of_examples
from mulo_sd.conformance.strategies.codebooks import distributions
from mulo_sd.conformance.strategies.decodes import ADAPTIVE, ZIPPED, Case, cases
from mulo_sd.reference import execute
from mulo_sd.reference.state import ModelState
from mulo_sd.reference.trace import Pass


class TestModeZipar:
    """MODE-ZIPAR ZipAR.

    The target decodes its grid by SCHED-1 with `window`.
    """

    @must_reach("adaptive", "several rows")
    @example(ZIPPED)
    @example(ADAPTIVE)
    @share_of_examples(4)
    @given(cases(("zipar",)))
    def test_infinite_window_is_autoregressive(self, case: Case) -> None:
        """With an infinite window it equals MODE-AR token for token, adaptive or not."""
        zipped = case._replace(settings=replace(case.settings, window=None)).run()
        autoregressive = case._replace(settings=replace(case.settings, mode="ar", sweep_width=1)).run()
        assert torch.equal(zipped.tokens, autoregressive.tokens)
        assert zipped.nfe_target == autoregressive.nfe_target
        reach("adaptive", case.settings.adaptive_window)
        reach("several rows", case.toy.target_height > 1)

    @must_reach("several cells a pass")
    @example(ZIPPED)
    @share_of_examples(4)
    @given(cases(("zipar",)))
    def test_passes_are_steps(self, case: Case) -> None:
        """The target decodes its grid by SCHED-1, a pass for each step; adaptive, no fewer, and at most N."""
        decoded = case.run()
        decode_laws.passes_are_counted(case, decoded)
        reach("several cells a pass", any(len(item.sampled) > 1 for item in decoded.trace.passes))


class TestSched3:
    """SCHED-3 Queries and stand-ins.

    A step draws u from the pass that feeds the token at u - 1, as the grid stood before the step. A drafted token
    counts as one, even if another island resamples it in this very step, so the result does not depend on the order
    inside a step. Where that token does not exist yet, which happens for the first cell of a row whose upper row is
    unfinished, a stand-in is fed in its place: the rightmost token that the upper row holds. KV-3 overwrites it with
    the true token later.
    """

    @must_reach("a pass feeds a stand-in", "a true token takes a stand-in's place")
    @example(ZIPPED)
    @example(ADAPTIVE)
    @share_of_examples(2)
    @given(cases(("zipar",)))
    def test_stand_ins(self, case: Case) -> None:
        """Where the upper row's end is missing, its rightmost token is fed in its place, for the first cell only.

        KV-3: The true token overwrites it with the first pass after it is decided.
        """
        decoded = case.run(record_logits=True)
        decode_laws.nothing_seen_is_gone(case, decoded)
        decode_laws.passes_feed_exactly(case, decoded)
        decode_laws.logits_follow_from_passes(case, decoded)
        decode_laws.samples_follow_from_logits(case, decoded)


@dataclass
class OpenRow:
    """A state in which cell 1 always waits for a stand-in; it holds what the reference draws from and notes."""

    seed: int = 0
    number: int = 0
    drawn_from: list[Tensor] = field(default_factory=list)
    token: int = 0

    def is_open(self, cell: int) -> bool:
        return cell == 1

    def sample(self, cells: list[int], log_probs: Tensor) -> Tensor:
        return torch.tensor([self.token])

    def draw(self, cells: list[int], log_probs: Tensor, attempt: int = 0) -> Tensor:
        self.drawn_from.append(log_probs[0])
        return torch.tensor([int(log_probs[0].argmax())])

    def origin(self, cell: int) -> tuple[Pass, int]:
        return Pass(0, torch.tensor([0]), torch.tensor([0])), 0


def outcome(old: Tensor, new: Tensor, token: int, draw: float) -> Tensor | None:
    """Predict a held token again with a given acceptance draw; return what a new one is drawn from, None if kept."""
    state = OpenRow(token=token)
    openings = execute.Openings(cast(ModelState, state))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execute, "uniform_noise", lambda *_, **__: torch.tensor([[draw]], dtype=torch.float64))
        assert openings.sample([1], old.log()[None])[0] == []  # held back
        decided, tokens = openings.sample([1], new.log()[None])
    assert (decided, tokens.tolist()) == (([], []) if state.drawn_from else ([1], [token]))
    return state.drawn_from[0].exp() if state.drawn_from else None


class TestSched5:
    """SCHED-5 Adaptive window.

    With `adaptive_window`, the first token of a row is held back while it is drawn from a stand-in, and predicted again
    in the next step, from a stand-in one token further: with p_new and the p_old it was drawn from, it is accepted with
    probability min(1, p_new / p_old) of it, and the row opens; else a token drawn from the positive part of p_new -
    p_old is held in its place. Either way the held token has the distribution p_new. Once the upper row is finished the
    row opens in any case. The k-th prediction uses attempt k - 1 of both streams. (The rule stands in the ZipAR paper;
    its public code has no such window.)
    """

    @must_reach(
        "an opening token is kept", "an opening token is drawn anew", "an opening token is predicted a third time"
    )
    @example(ADAPTIVE)
    @share_of_examples(1)
    @given(cases(("zipar",)))
    def test_opening_tokens(self, case: Case) -> None:
        """An open row's first token is held, and predicted again from a stand-in one token further.

        It is accepted iff U < p_new / p_old, and else drawn from the positive part of p_new - p_old, with the next
        attempt's noise. An accepted token opens its row, and so does the end of the upper row.
        """
        case = case._replace(settings=replace(case.settings, adaptive_window=True))
        decoded = case.run(record_logits=True)
        opening_laws.repredictions_follow(case, decoded)
        decode_laws.passes_feed_exactly(case, decoded)

    @must_reach("never rejected", "sometimes rejected", "always rejected")
    @example(((0.5, 0.5, 0.0), (0.25, 0.0, 0.75)))
    @example(((0.25, 0.75), (0.5, 0.5)))
    @given(st.integers(1, 4).flatmap(lambda codes: st.tuples(distributions(codes), distributions(codes))))
    def test_opening_tokens_have_the_new_law(self, pair: tuple[tuple[float, ...], tuple[float, ...]]) -> None:
        """A token drawn from p_old and predicted again has the law p_new; by enumeration of what may happen."""
        resampling_laws.predicting_again_gives_the_new_law(*pair, outcome)
