"""POOL-1 and ACCEPT-1."""

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from mulo_sd.conformance.rules import function_laws
from mulo_sd.conformance.rules.branches import must_reach
from mulo_sd.conformance.strategies.codebooks import Codebook, Judgement, codebooks, judgements
from mulo_sd.reference.acceptance import accept
from mulo_sd.reference.codebook import neighbours, pooled_probs

EQUAL_CODES = Codebook(((0, 1), (0, 1), (1, 0), (0, 1), (-1, 0)))


class TestPool1:
    """POOL-1 Pooled probability.

    B_k(v) is the k codes nearest to v: v itself first, then by distance, ties to the lower code. The distance is
    Euclidean on the codes as the quantiser compares them, so after normalisation if it normalises. The pooled
    probability of a draft token is the sum of p_u over B_k(draft token). The reference adds in that order; another
    implementation may add in any, and a decision that hangs on the rounding is a near-tie (CONF-2).
    """

    @must_reach("two codes are equal", "the last neighbour is as near as the first left out")
    @example(EQUAL_CODES, 0)
    @example(EQUAL_CODES, 3)
    @given(codebooks(), st.integers(0, 20))
    def test_neighbourhoods(self, codebook: Codebook, size: int) -> None:
        """B_k(v) holds the k codebook entries nearest to v, v itself first, ties to the lower code."""
        function_laws.neighbours_are_nearest(codebook, 1 + size % len(codebook.rows), neighbours)

    @given(codebooks())
    def test_neighbourhood_sizes(self, codebook: Codebook) -> None:
        """B_k has k members, at least the token itself and at most the whole codebook."""
        codes = len(codebook.rows)
        for wrong in (-1, 0, codes + 1):
            with pytest.raises(ValueError, match=rf"1\.\.{codes}"):
                neighbours(codebook.tensor, wrong)
        assert neighbours(codebook.tensor, 1).flatten().tolist() == list(range(codes))
        assert all(sorted(row) == list(range(codes)) for row in neighbours(codebook.tensor, codes).tolist())

    @must_reach("neighbours add to it", "another order gives another sum")
    @example(Judgement(Codebook(((0,), (1,), (2,))), ((0.1, 0.2, 0.7),), (0,)), 2)
    @given(judgements(4), st.integers(0, 20))
    def test_pooling(self, judgement: Judgement, size: int) -> None:
        """The pooled probability of u is the sum of p_u over B_k(draft_u); the reference adds in that order."""
        function_laws.pooling_adds_in_order(judgement, 1 + size % len(judgement.codebook.rows), pooled_probs)


@st.composite
def pooled_and_tau(draw: st.DrawFn) -> tuple[list[float], float]:
    """Pooled probabilities, rounding above 1 included, and a threshold that often is one of them."""
    values = st.floats(0, 1) | st.sampled_from((0.0, 0.25, 1.0, 1.0 + 2**-52))
    pooled = draw(st.lists(values, min_size=1, max_size=8))
    tau = draw(st.sampled_from(pooled) | st.floats(-1, 2) | st.sampled_from((0.0, 1.0, 2.0)))
    return pooled, tau


class TestAccept1:
    """ACCEPT-1 Acceptance threshold.

    A draft token is accepted if its pooled probability is at least tau. A tau above 1 rejects everything by definition,
    whatever rounding makes of the sum.
    """

    @must_reach("exactly tau is kept", "rejected although it exceeds tau > 1", "some kept, some rejected")
    @example(([0.0, 0.25, 1.0], 0.25))
    @example(([1.0, 1.0 + 2**-52], 1.0 + 2**-52))
    @given(pooled_and_tau())
    def test_acceptance(self, case: tuple[list[float], float]) -> None:
        """A draft token is accepted iff its pooled probability is at least tau; tau > 1 rejects everything."""
        function_laws.acceptance_is_a_threshold(*case, accept)
