"""LOCAL-3."""

from dataclasses import replace

import hypothesis.strategies as st
import torch
from hypothesis import example, given

from mulo_sd.conformance.rules import cycle_laws, oracles, resampling_laws
from mulo_sd.conformance.rules.branches import must_reach, reach, share_of_examples
from mulo_sd.conformance.strategies.codebooks import distributions
from mulo_sd.conformance.strategies.decodes import LOCAL_MODES, UNEVEN, Case, cases
from mulo_sd.conformance.strategies.grids import Mask, Window, windows
from mulo_sd.reference.grid import expand
from mulo_sd.reference.radius import adaptive_radii, entropy


@st.composite
def grids_of_quarters(draw: st.DrawFn) -> list[list[int]]:
    """Entropies of a window, in quarters of a nat."""
    height, width = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    row = st.lists(st.integers(0, 20), min_size=width, max_size=width)
    return draw(st.lists(row, min_size=height, max_size=height))


class TestLocal3:
    """LOCAL-3 Adaptive radius.

    With `radius_nats` > 0 each rejected position has a radius of its own: the mean entropy of p, in nats, over the
    cells of the window within `radius` of it, divided by `radius_nats` and rounded down, at most `radius`. Where the
    target is sure of itself a mistake is mended on the spot; where much is possible, its surroundings go along.
    """

    @must_reach("radii differ", "the largest bounds it", "the same everywhere")
    @example([[0, 0, 0, 20], [0, 1, 4, 20]], 1, 1.0)
    @example([[4, 4]], 2, 0.0)
    @given(grids_of_quarters(), st.integers(0, 4), st.sampled_from((0.0, 0.25, 0.5, 1.0, 2.0)))
    def test_adaptive_radii(self, quarters: list[list[int]], radius: int, radius_nats: float) -> None:
        """A rejection's radius is the mean entropy of p within `radius` of it, over `radius_nats`, rounded down.

        It is at most `radius`, and `radius` everywhere where `radius_nats` is 0. Cells outside the window do not count.
        """
        resampling_laws.radii_follow_entropies(quarters, radius, radius_nats, adaptive_radii)

    @must_reach("a code without probability", "certain")
    @example((0.5, 0.0, 0.5))
    @example((1.0,))
    @given(st.integers(1, 8).flatmap(distributions))
    def test_entropy(self, target_probs: tuple[float, ...]) -> None:
        """The entropy of p in nats; a code without probability adds nothing."""
        result = entropy(torch.tensor([target_probs], dtype=torch.float64).log())
        assert abs(float(result) - oracles.entropy(target_probs)) < 1e-12
        reach("a code without probability", 0.0 in target_probs)
        reach("certain", 1.0 in target_probs)

    @must_reach("between the smallest and the largest radius")
    @example(Window(Mask(5, 5, frozenset({7, 17})), 1, 5, 0), [1, 2, 0])
    @given(windows(), st.lists(st.integers(0, 4), min_size=1, max_size=8))
    def test_local_expansion_by_own_radii(self, window: Window, radii: list[int]) -> None:
        """R_X is LOCAL-1's, each rejected cell with a radius of its own."""
        resampling_laws.rejections_reach_as_far_as_their_own(window, radii, expand)

    @must_reach("radii differ", "a radius is below the largest")
    @example(UNEVEN)
    @share_of_examples(2)
    @given(cases(LOCAL_MODES, own_draft=True))
    def test_radii_in_a_decode(self, case: Case) -> None:
        """A cycle's radii follow from the entropies of its verification, whatever `accept_on` compares."""
        decoded = case.run(record_logits=True)
        cycle_laws.radii_follow(case, decoded)
        cycle_laws.rejections_grow(case, decoded)

    @must_reach("fewer cells are resampled")
    @example(UNEVEN)
    @share_of_examples(4)
    @given(cases(LOCAL_MODES, own_draft=True))
    def test_no_further_than_the_fixed_radius(self, case: Case) -> None:
        """On the same draft and p, R_X lies within the fixed radius's; `radius_nats` = 0 is the fixed one."""
        fixed = case._replace(settings=replace(case.settings, radius_nats=0.0)).run().trace.cycles[0]
        adaptive = case._replace(settings=replace(case.settings, radius_nats=1.5)).run().trace.cycles[0]
        assert bool((fixed.radii == case.settings.radius).all())
        assert not bool((adaptive.resampled & ~fixed.resampled).any())
        assert torch.equal(adaptive.kept, fixed.kept)
        reach("fewer cells are resampled", not torch.equal(adaptive.resampled, fixed.resampled))
