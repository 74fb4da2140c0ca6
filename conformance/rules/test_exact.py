"""MODE-EXACT: its law is the target's, by enumeration."""

from unittest.mock import patch

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import example, given
from torch import Tensor

from mulo_sd.conformance.rules.branches import must_reach, reach, share_of_examples
from mulo_sd.conformance.rules.exact_law import Tiny, autoregressive_law, distance, enumerate_decode
from mulo_sd.reference.decode import decode
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.state import ModelState

TOLERANCE = 1e-9
# (drafter's rows, columns, scale ratio, codes): at most 81 grids.
SHAPES = ((1, 1, 2, 3), (1, 2, 1, 3), (1, 1, 2, 2), (2, 1, 1, 3), (2, 2, 1, 3), (1, 3, 1, 3))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Tiny, Settings, tuple[int, ...] | None]:
    """Tiny models, settings of the exact mode, and now and then a given draft."""
    tiny = Tiny(*draw(st.sampled_from(SHAPES)), weights_seed=draw(st.integers(0, 2**32 - 1)))
    settings = Settings(
        mode="exact",
        guidance_scale=draw(st.sampled_from((1.0, 1.5, 3.0))),
        temperature=draw(st.sampled_from((1.0, 0.5, 2.0))),
        top_k=draw(st.sampled_from((0, 2))),
        top_p=draw(st.sampled_from((1.0, 0.9, 0.6))),
        neighbours=1,
        draft_rows=draw(st.integers(1, 2)),
        look_ahead=draw(st.integers(0, 1)),
        exact_window=draw(st.sampled_from((None, 1, 2, 3))),
    )
    cells = tiny.height * tiny.width
    codes = st.integers(0, tiny.codes - 1)
    draft = draw(st.none() | st.lists(codes, min_size=cells, max_size=cells).map(tuple))
    return tiny, settings, draft


def as_grid(tiny: Tiny, draft: tuple[int, ...] | None) -> Tensor | None:
    """Return a given draft as Int[h, w]."""
    return None if draft is None else torch.tensor(draft).reshape(tiny.height, tiny.width)


PLAIN = Settings(mode="exact", neighbours=1, exact_window=None, look_ahead=0)
GIVEN = (Tiny(1, 1, 2, 3, 7), PLAIN, (1,))
DRAFTED = (Tiny(1, 2, 1, 3, 8), Settings(mode="exact", neighbours=1, exact_window=2, top_k=2), None)


def _stale_query(query: object) -> object:
    """Return a query that never looks again at a cell that it has scored."""
    seen: dict[tuple[int, int], Tensor] = {}

    def stale(state: ModelState, cells: range, also_feed: range = range(0)) -> Tensor:
        if state.number or any((id(state), cell) not in seen for cell in cells):
            logits: Tensor = query(state, cells, also_feed)  # type: ignore[operator]  # the method itself
            if state.number == 0:
                seen.update({(id(state), cell): logits[:, index] for index, cell in enumerate(cells)})
            return logits
        return torch.stack([seen[id(state), cell] for cell in cells], dim=1)

    return stale


class TestModeExact:
    """MODE-EXACT Lossless decoding.

    Lossless, with cycles as in MODE-SERIAL. Given the low-resolution sample the draft is fixed, so draft token d at u
    is accepted with probability p_u(d), in raster order. At the first rejection the token is drawn from p_u without d,
    renormalised; what follows is verified again from the next position on, feeding the last decided token and the draft
    of the rest. The token at u is thus d with probability p_u(d), and v with (1 - p_u(d)) * p_u(v) / (1 - p_u(d)): the
    target's own distribution. No decision reads an acceptance draw past the first rejection, and there is no bonus
    token. A draft token without alternative (p_u(d) = 1 but for rounding) is kept. A verification scores at most
    `exact_window` cells, for those after a rejection are scored in vain. `accept_on` must be `"processed"`; `tau`,
    `radius` and `anchor` are not used for the target.
    """

    @must_reach("the draft is given", "the drafter drafts", "several grids", "filtered")
    @example(GIVEN)
    @example(DRAFTED)
    @share_of_examples(6)
    @given(cases())
    def test_the_law_is_the_targets(self, case: tuple[Tiny, Settings, tuple[int, ...] | None]) -> None:
        """The output's distribution is exactly the target's, whatever the draft.

        No decision reads an acceptance draw past the first rejection: each position's is read once, for itself.
        """
        tiny, settings, draft = case
        world = tiny.build()
        enumerated = enumerate_decode(world, settings, as_grid(tiny, draft))
        expected = autoregressive_law(world, settings)
        assert abs(sum(expected.values()) - 1) < TOLERANCE
        assert distance(enumerated.law, expected) < TOLERANCE
        cells = tiny.height * tiny.width * tiny.scale_ratio**2
        assert all(read == list(range(cells)) for read in enumerated.reads)
        reach("the draft is given", draft is not None)
        reach("the drafter drafts", draft is None)
        reach("several grids", len(enumerated.law) > 1)
        reach("filtered", len(enumerated.law) < len(expected))

    @share_of_examples(2)
    @given(cases(), st.integers(0, 2**64 - 1))
    def test_greedy_is_autoregressive(self, case: tuple[Tiny, Settings, tuple[int, ...] | None], seed: int) -> None:
        """At temperature 0 it is greedy decoding, and its passes are counted."""
        tiny, settings, draft = case
        world = tiny.build()
        greedy = Settings(mode="exact", temperature=0.0, neighbours=1, exact_window=settings.exact_window)
        exact = decode(*world, greedy, seed, as_grid(tiny, draft))
        ar = decode(*world, Settings(mode="ar", temperature=0.0), seed)
        assert torch.equal(exact.tokens, ar.tokens)
        passes = 1  # the prefill, from which cell 0 is judged too
        for cycle in exact.trace.cycles:
            width = exact.tokens.shape[1]
            cell, stop = cycle.first_row * width, cycle.last_row * width
            kept = cycle.kept.flatten().tolist()
            while cell < stop:
                scored = min(stop, cell + (greedy.exact_window or stop))
                passes += scored > 1  # a verification of cell 0 alone feeds nothing
                first = cell
                while cell < scored:
                    cell += 1
                    if not kept[cell - 1 - cycle.first_row * width]:
                        break
                assert cell > first
        assert exact.nfe_target == passes

    def test_a_token_without_alternative_is_kept(self) -> None:
        """A draft token of probability 1 stays even if its draw is not below it."""
        tiny = Tiny(1, 2, 1, 3, 3)
        world = tiny.build()
        greedy = Settings(mode="exact", temperature=0.0, neighbours=1)
        best = decode(*world, Settings(mode="ar", temperature=0.0), 0).tokens
        with patch("mulo_sd.reference.exact.uniform_noise", lambda *_: torch.full((len(best.flatten()), 1), 1.0)):
            decoded = decode(*world, greedy, 0, best)
        # Up-sampling by 1 passes through pixels: only where it returned the best token was there one to keep.
        cycle = decoded.trace.cycles[0]
        assert torch.equal(cycle.kept, cycle.up_sampled == best)
        assert torch.equal(decoded.tokens, best)

    @pytest.mark.parametrize("case", [GIVEN, (Tiny(2, 2, 1, 3, 9), PLAIN, (0, 1, 2, 1))])
    def test_planted_defects_are_caught(self, case: tuple[Tiny, Settings, tuple[int, ...] | None]) -> None:
        """The enumeration sees wrong replacements, wrong acceptance, and what is not verified again."""
        tiny, settings, draft = case
        world = tiny.build()
        expected, grid = autoregressive_law(world, settings), as_grid(tiny, draft)
        with patch("mulo_sd.reference.exact.without_token", lambda log_probs, _token: log_probs):
            assert distance(enumerate_decode(world, settings, grid).law, expected) > 1e-3
        assert distance(enumerate_decode(world, settings, grid, lambda p: p**0.5).law, expected) > 1e-3
        # What is not scored again has no row in the last pass; the trace is no part of this test.
        no_origin = patch.object(ModelState, "origin", lambda state, *_: (state.trace.passes[-1], 0))
        with no_origin, patch.object(ModelState, "query", _stale_query(ModelState.query)):
            assert distance(enumerate_decode(world, settings, grid).law, expected) > 1e-3
