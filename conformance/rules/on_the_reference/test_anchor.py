"""ANCHOR-1."""

from collections.abc import Sequence
from dataclasses import replace

import hypothesis.strategies as st
import torch
from hypothesis import example, given

from mulo_sd.conformance.rules import decode_laws, resampling_laws
from mulo_sd.conformance.rules.branches import must_reach, reach, share_of_examples
from mulo_sd.conformance.strategies.codebooks import Codebook, codebooks
from mulo_sd.conformance.strategies.decodes import ANCHORED, EXACT, ISLANDS, LOCAL_MODES, Case, cases
from mulo_sd.reference.anchor import Anchor

CROSS = Codebook(((1, 0), (0, 2), (-1, 0), (3, 3)))


def bonus(
    strength: float, vectors: torch.Tensor, drafts: torch.Tensor, first: int, cells: Sequence[int]
) -> torch.Tensor:
    """Return the reference's bonus."""
    return Anchor(strength, vectors, drafts, first).bonus(cells)


class TestAnchor1:
    """ANCHOR-1 Anchored resampling.

    A token that is resampled is drawn from p_u(v) * exp(`anchor` * c(v, d)), renormalised, where c is the cosine of two
    codes and d the draft token of u. By Gumbel-max: `anchor` * c(v, d) is added to the noise of v. p_u knows nothing of
    the tokens kept to the right and below; d does, for the up-sampler saw the whole draft. 0 is the paper's rule.
    """

    @must_reach("a code opposite to the draft", "cells in the middle", "nothing")
    @example(CROSS, [0, 1, 3], 4.0, 5, [1, 0])
    @example(CROSS, [0, 1, 1], 0.0, 0, [1])
    @given(
        codebooks().filter(lambda codebook: all(any(row) for row in codebook.rows)),
        st.lists(st.integers(0, 20), min_size=3, max_size=6),
        st.sampled_from((0.0, 0.5, 4.0, 100.0)),
        st.integers(0, 50),
        st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True),
    )
    def test_bonus(self, codebook: Codebook, drafts: list[int], strength: float, first: int, places: list[int]) -> None:
        """What is added to log p is strength times the cosine of a code and the draft's; strength 0 adds 0."""
        tokens = [draft % len(codebook.rows) for draft in drafts]
        cells = [first + offset % len(drafts) for offset in places]
        resampling_laws.bonus_is_a_cosine(codebook, tokens, strength, first, cells, bonus)

    @must_reach("the anchor changes a token")
    @example(ANCHORED, 4.0)
    @example(ISLANDS, 30.0)
    @share_of_examples(2)
    @given(cases(LOCAL_MODES, own_draft=True), st.sampled_from((1.0, 4.0, 30.0)))
    def test_resampled_tokens_are_anchored(self, case: Case, anchor: float) -> None:
        """A resampled token is the largest of log p + noise + strength * cosine(code, the draft's code).

        Nothing else is drawn towards anything: no draft of the coarsest drafter, and no token of MODE-AR.
        """
        case = case._replace(settings=replace(case.settings, anchor=anchor))
        decode_laws.samples_follow_from_logits(case, case.run(record_logits=True))

    @must_reach("a token is kept", "a resampled token is another")
    @example(ANCHORED, 4.0)
    @example(ISLANDS, 4.0)
    @share_of_examples(2)
    @given(cases(LOCAL_MODES, own_draft=True), st.sampled_from((1.0, 4.0, 30.0)))
    def test_kept_tokens_are_not_touched(self, case: Case, anchor: float) -> None:
        """The anchor says nothing of what is kept: the first cycle's verdict is the same, and what it keeps."""
        one, two = (
            case._replace(settings=replace(case.settings, anchor=strength)).run().trace.cycles[0]
            for strength in (0.0, anchor)
        )
        assert torch.equal(one.kept, two.kept)
        assert torch.equal(one.resampled, two.resampled)
        assert torch.equal(one.tokens[~one.resampled], two.tokens[~two.resampled])
        assert torch.equal(two.tokens[~two.resampled], two.up_sampled[~two.resampled])
        reach("a token is kept", not bool(one.resampled.all()))
        reach("a resampled token is another", not torch.equal(one.tokens, two.tokens))

    @example(EXACT)
    @share_of_examples(4)
    @given(cases(("ar", "zipar", "exact"), own_draft=True))
    def test_other_modes_have_no_anchor(self, case: Case) -> None:
        """What is not resampled around rejections by the target is what it is without an anchor."""
        case = case._replace(settings=replace(case.settings, drafters=(case.settings.drafters[-1],)))
        plain = case._replace(settings=replace(case.settings, anchor=0.0)).run()
        assert torch.equal(case._replace(settings=replace(case.settings, anchor=9.0)).run().tokens, plain.tokens)
