"""PREFILL, GRID-2 and KV-1 to KV-4."""

from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import torch
from hypothesis import example, given

from mulo_sd.conformance.rules import decode_laws, function_laws
from mulo_sd.conformance.rules.branches import must_reach, reach, share_of_examples
from mulo_sd.conformance.rules.decode_case import FLOAT64
from mulo_sd.conformance.rules.oracle_model import DictionaryModel, from_scratch
from mulo_sd.conformance.rules.replay import passes_of
from mulo_sd.conformance.strategies.decodes import (
    AHEAD,
    ALL_MODES,
    AUTOREGRESSIVE,
    FILTERED,
    MIXED,
    REFRESHED,
    Case,
    cases,
)
from mulo_sd.conformance.strategies.toys import CODES, PREFIX_VOCABULARY, Toy, toys
from mulo_sd.reference.cache import feed
from mulo_sd.reference.decode import decode
from mulo_sd.reference.models import Condition
from mulo_sd.reference.noise import HEAD

Passes = list[dict[int, int]]
TWO_LAYERS = Toy(2, 2, 2, 2, 2, 1.5, 5)


@st.composite
def toys_and_passes(draw: st.DrawFn) -> tuple[Toy, Passes]:
    """Toys with passes over any cells in any order, which leave gaps, look back, and write places again."""
    toy = draw(toys(max_cells=24))
    cells = st.integers(0, toy.target_cells - 1)
    one_pass = st.dictionaries(cells, st.integers(0, CODES - 1), min_size=1, max_size=6)
    return toy, draw(st.lists(one_pass, min_size=1, max_size=4))


class TestKv1:
    """KV-1 What a pass reads and writes.

    A pass feeds a set of (position, token) pairs. It reads the grid as it stood before the step, writes the keys and
    values of all of them, and only then attends: a query at position q sees every position <= q that has ever been
    written. (A prefix position under a condition mask is visible to itself only: see PREFILL.)
    """

    @must_reach(
        "keys stay as written before a change to their left", "a place is written again", "not in order", "a gap"
    )
    @example((TWO_LAYERS, [{0: 1, 1: 2, 2: 3}, {1: 7}, {9: 4, 3: 0}]))
    @share_of_examples(1)
    @given(toys_and_passes())
    def test_attention(self, case: tuple[Toy, Passes]) -> None:
        """A pass writes the keys and values of all that it feeds, and only then attends.

        A query at q sees every position <= q that has been written, in this pass or before, and no other.
        KV-2: Keys and values of a position stay as last written, whatever is written to other positions later.
        """
        toy, passes = case
        function_laws.passes_attend_to_what_is_written(toy, passes, feed)
        written = [cell for pairs in passes for cell in pairs]
        reach("a place is written again", len(set(written)) < len(written))
        reach("not in order", written != sorted(written))
        reach("a gap", len(set(written)) < max(written) + 1)

    @must_reach("keys stay as written before a change to their left")
    @example((TWO_LAYERS, {3: 1, 0: 2, 7: 5, 1: 1}))
    @share_of_examples(2)
    @given(toys_and_passes().map(lambda case: (case[0], case[1][0])))
    def test_one_pass_in_any_order(self, case: tuple[Toy, dict[int, int]]) -> None:
        """A pass feeds a set: the order of its pairs is nothing to its result, and each query sees all of the pass.

        The second pass writes the same cells in the opposite order, then the first one's cells change their tokens.
        """
        toy, pairs = case
        backwards = dict(reversed(pairs.items()))
        changed = {min(pairs): (pairs[min(pairs)] + 1) % CODES}
        function_laws.passes_attend_to_what_is_written(toy, [pairs, backwards, changed], feed)


class TestKv2:
    """KV-2 Keys and values may be stale.

    The keys and values of a position stay as they were last written. They may be stale with respect to *other* tokens:
    those before them that have been resampled since.
    """

    @must_reach("a pass replaces the token of a position")
    @example(MIXED)
    @example(AHEAD)
    @example(FILTERED)
    @share_of_examples(2)
    @given(cases(ALL_MODES, own_draft=True))
    def test_passes_attend_to_what_is_written(self, case: Case) -> None:
        """KV-1, KV-2: Each pass of a decode reads the grid as it stood before the step.

        Its logits are those of attention over the keys and values last written at or before each query.
        """
        decoded = case.run(record_logits=True)
        decode_laws.nothing_seen_is_gone(case, decoded)
        decode_laws.logits_follow_from_passes(case, decoded)


class TestKv3:
    """KV-3 Every decided token is fed.

    They are never stale with respect to their *own* token. Every pass, verification included, also feeds every position
    that was decided since it was last fed, as far as a query of the pass sees it; the others wait for a pass that does.
    So no query sees the keys and values of a token that the grid no longer holds. This adds no pass. Without it, a
    resampled token whose successor is kept would never enter the cache: no query for that successor is made, and so
    nobody feeds it.
    """

    @must_reach("a pass replaces the token of a position", "a pass feeds a decided token that is nobody's predecessor")
    @example(MIXED)
    @example(AHEAD)
    @example(FILTERED)
    @share_of_examples(1)
    @given(cases(ALL_MODES, own_draft=True))
    def test_nothing_seen_is_gone(self, case: Case) -> None:
        """No query sees the key or value of a token that the grid no longer holds.

        Every pass, verification included, also feeds what was decided since the previous pass and is not in the cache.
        """
        decoded = case.run()
        decode_laws.nothing_seen_is_gone(case, decoded)
        decode_laws.passes_feed_exactly(case, decoded)


class TestKv4:
    """KV-4 Refreshing the previous window.

    With `refresh`, the verification of a cycle also feeds the whole previous window again, which mends KV-2 for it.
    """

    @must_reach("a verification feeds a window again", "a cycle with rejection")
    @example(REFRESHED)
    @share_of_examples(2)
    @given(cases())
    def test_refresh(self, case: Case) -> None:
        """With `refresh`, a cycle's verification also feeds the whole previous window again; it adds no pass."""
        decoded = case.run()
        decode_laws.passes_feed_exactly(case, decoded)
        decode_laws.passes_are_counted(case, decoded)


class TestPrefill:
    """PREFILL The pass of the condition.

    The condition is one pass of each model. It counts in that model's number of function evaluations (NFE) and gives
    p_0. Autoregressive decoding of N tokens is therefore N passes. A prefix token that the condition hides (a caption's
    padding) is fed for neither half, so that no query ever sees it. The last one is fed all the same, for p_0 comes
    from it: where it is hidden it sees what exists and itself, and no later query sees it.
    """

    @example(MIXED)
    @example(AUTOREGRESSIVE)
    @share_of_examples(2)
    @given(cases(ALL_MODES))
    def test_prefill(self, case: Case) -> None:
        """The condition is one pass for each model, counted in its NFE, and gives p_0."""
        decode_laws.prefill_comes_first(case, case.run(record_logits=True))

    @must_reach("a prefix token is hidden", "what is hidden would have mattered")
    @example(MIXED, 1)
    @share_of_examples(2)
    @given(cases(ALL_MODES), st.integers(0, 63))
    def test_hidden_prefix(self, case: Case, hidden: int) -> None:
        """What a hidden prefix token holds changes nothing, in either half; its position is fed in no pass."""
        length, condition = case.prefix_length, case.condition
        shown = torch.tensor([hidden >> position & 1 == 0 for position in range(length - 1)] + [True])
        decoded, others = [], []
        assert condition.uncond is not None
        for shift in (0, 1):
            cond, uncond = (
                torch.where(shown[:, None], part, (part + shift) % PREFIX_VOCABULARY)
                for part in (condition.cond, condition.uncond)
            )
            arguments = (case.settings, case.seed, case.draft_tensor, True)
            decoded.append(decode(case.models, Condition(cond, uncond, shown), *arguments))
            others.append(decode(case.models, Condition(cond, uncond), *arguments))
        places = shown.nonzero()[:, 0].tolist()
        for item in decoded[0].trace.passes:
            before = [position for position in item.positions.tolist() if position < length]
            # A head is fed at the places behind those that exist (METHOD-6).
            following = [place + 1 for place in places if place + 1 < length]
            assert before in ([], following if item.model == HEAD else places)
        assert torch.equal(decoded[0].tokens, decoded[1].tokens)
        logits = [[decode_laws.recorded(item) for item in run.trace.passes] for run in decoded]
        assert all(torch.equal(one, two) for one, two in zip(*logits, strict=True))
        reach("a prefix token is hidden", not bool(shown.all()))
        first = [decode_laws.recorded(run.trace.passes[0])[:, -1] for run in others]
        reach("what is hidden would have mattered", not torch.equal(*first))

    @must_reach("a later pass sees less than the prefill", "a prefix token before the last is hidden")
    @example(MIXED, 1)
    @example(FILTERED, 2)
    @share_of_examples(2)
    @given(cases(ALL_MODES), st.integers(1, 63))
    def test_hidden_last_token(self, case: Case, hidden: int) -> None:
        """The last prefix token is fed where it is hidden, too; p_0 comes from it, and no later pass sees it."""
        length, condition = case.prefix_length, case.condition
        shown = torch.tensor(
            [position == 0 or hidden >> position & 1 == 0 for position in range(length - 1)] + [length == 1]
        )
        masked = Condition(condition.cond, condition.uncond, shown)
        decoded = decode(case.models, masked, case.settings, case.seed, case.draft_tensor, True)
        fed = [position for position in range(length) if shown[position] or position == length - 1]
        for number in decode_laws.models_of(case):
            for row, prefix in enumerate(decode_laws.conditions(case)):
                oracle = DictionaryModel(case.models.transformer(number), prefix)
                for item in passes_of(decoded, number):
                    places = item.positions.tolist()
                    assert places == fed or min(places) >= length
                    logits = oracle.feed(dict(zip(places, item.tokens.tolist(), strict=True)))
                    if places == fed and length > 1:
                        oracle.forget(length - 1)
                    expected = np.stack([logits[position] for position in places])
                    result = decode_laws.recorded(item)[row].numpy()
                    np.testing.assert_allclose(result, expected, rtol=0, atol=FLOAT64.logits)
        reach("a later pass sees less than the prefill", length > 1 and len(passes_of(decoded, 0)) > 1)
        reach("a prefix token before the last is hidden", not bool(shown[:-1].all()))


class TestGrid2:
    """GRID-2 Prefix and queries.

    A condition (here: a caption and a plan) is P >= 1 prefix tokens, which are never hidden as a whole. Image token u
    lives at sequence position P + u. The logits from which it is drawn come from feeding its predecessor: token u - 1,
    or for u = 0 the last prefix token. So the last image token of a grid is fed only if a rule asks for it.
    """

    @must_reach("a longer prefix")
    @example(AUTOREGRESSIVE)
    @share_of_examples(2)
    @given(cases(modes=("ar",)))
    def test_predecessors_give_logits(self, case: Case) -> None:
        """Token u stands at position P + u after the P >= 1 prefix tokens; its logits come from its predecessor.

        The predecessor of token 0 is the last prefix token. Image tokens see the whole prefix.
        """
        case = case._replace(settings=replace(case.settings, sweep_width=1))
        decoded = case.run(record_logits=True)
        tokens = decoded.tokens.flatten().tolist()
        passes = passes_of(decoded, 0)
        assert [item.positions[-1] - case.toy.prefix_length for item in passes] == list(range(-1, len(tokens) - 1))
        for row, condition in enumerate(decode_laws.conditions(case)):
            expected = from_scratch(case.world.models.target, condition, tokens[:-1])
            result = [decode_laws.recorded(item)[row, -1].numpy() for item in passes]
            np.testing.assert_allclose(np.stack(result), np.stack(expected), rtol=0, atol=FLOAT64.logits)
        reach("a longer prefix", case.toy.prefix_length > 1)
