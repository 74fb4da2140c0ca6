"""MODE-EAGLE, MODE-LANTERN, MODE-SSD: heads, trees and rounds."""

import pytest
from hypothesis import example, given

from mulo_sd.conformance.rules import cycle_laws, speculation_laws, tree_laws
from mulo_sd.conformance.rules.branches import share_of_examples
from mulo_sd.conformance.rules.on_the_reference.enumeration import Tiny
from mulo_sd.conformance.rules.on_the_reference.method_enumeration import (
    Enumeration,
    distance,
    raster_law,
    rule_at,
    target_given,
)
from mulo_sd.conformance.rules.on_the_reference.test_methods import (
    CHAIN,
    ROUNDS,
    STATIC,
    TREE,
)
from mulo_sd.conformance.rules.replay import told_of
from mulo_sd.conformance.strategies.decodes import Case, cases
from mulo_sd.reference.acceptances.lossless import lossless

TWO_CODES, THREE_CODES = Tiny(2, 2, 2, 7), Tiny(1, 3, 3, 7)


class TestModeEagle:
    """MODE-EAGLE Heads on hidden states.

    `eagle`: a head's chain, ACCEPT-2, `"prefix"` (EAGLE-1, arXiv 2401.15077). `eagle-tree`: EAGLE-2's dynamic tree
    (arXiv 2406.16858; 59 nodes with the root, depth 5, top 10). MODE-EAGLE is lossless in distribution; the head is
    trained.
    """

    @pytest.mark.parametrize("tiny", [TWO_CODES, THREE_CODES], ids=["two codes", "three codes"])
    def test_lossless(self, tiny: Tiny) -> None:
        """METHOD-6, ACCEPT-2: whatever a head drafts, chains and trees leave the law of images, to 1e-9."""
        given_tokens, drafting = target_given(tiny), target_given(tiny._replace(weights_seed=9))
        right, courses = raster_law(tiny, given_tokens), Enumeration(tiny, given_tokens, lossless)
        for length in (1, 2, 3):
            assert distance(courses.by_chains(drafting, length), right) < 1e-9
        for widths in ((2,), (2, 2), (3, 2, 1)):
            for certain in (False, True):
                assert distance(courses.by_trees(drafting, widths, certain), right) < 1e-9

    @example(CHAIN)
    @example(TREE)
    @share_of_examples(8)
    @given(cases(("eagle", "eagle-tree"), max_cells=16))
    def test_decodes(self, case: Case) -> None:
        """The choices of a decode are those that are enumerated."""
        decoded = case.run(record_logits=True)
        speculation_laws.drafts_are_judged(case, decoded)
        tree_laws.trees_are_walked(case, decoded)


class TestModeLantern:
    """MODE-LANTERN Relaxed trees.

    `lantern`: EAGLE-2's tree with ACCEPT-5 (arXiv 2410.03355, k 1000, delta 0.1 to 0.4). `lantern-plus`: a static
    tree with ACCEPT-6 (arXiv 2502.06352). Lossy; the head is trained.
    """

    def test_limits_are_lossless(self) -> None:
        """Without lenders trees leave the law of images; with them they do not."""
        given_tokens, drafting = target_given(THREE_CODES), target_given(THREE_CODES._replace(weights_seed=9))
        right = raster_law(THREE_CODES, given_tokens)
        rules = {
            "nobody lends": (rule_at("lantern", lantern_delta=0.0), rule_at("lantern-plus", lantern_factor=1.0)),
            "all lend": (rule_at("lantern", lantern_delta=1.0), rule_at("lantern-plus", lantern_factor=20.0)),
        }
        for name, both in rules.items():
            for rule, certain in zip(both, (True, False), strict=True):
                law = Enumeration(THREE_CODES, given_tokens, rule).by_trees(drafting, (2, 2), certain)
                assert (distance(law, right) < 1e-9) == (name == "nobody lends")

    @example(STATIC)
    @share_of_examples(8)
    @given(cases(("lantern", "lantern-plus"), max_cells=16))
    def test_decodes(self, case: Case) -> None:
        """Siblings are judged with what nearby codes lend them."""
        tree_laws.trees_are_walked(case, case.run(record_logits=True))


class TestModeSsd:
    """MODE-SSD Rounds over a draft.

    The up-sampled coarse draft, ACCEPT-2, `"rounds"`: the correction of SSD (arXiv 2606.20543, second-hand, 0 to 2
    rounds), with our draft in place of its trained heads. Lossy; nothing but the drafters is trained.
    """

    @example(ROUNDS)
    @share_of_examples(4)
    @given(cases(("ssd",), max_cells=24, own_draft=True))
    def test_decodes(self, case: Case) -> None:
        """The whole draft is judged in every round, and the last decides."""
        decoded = case.run(record_logits=True)
        speculation_laws.drafts_are_judged(case, decoded)
        cycle_laws.whole_rows_are_drafted(case, decoded)
        assert len([judged for _, _, passes in told_of(case, decoded, 0).speculations for judged in passes]) == (
            case.settings.rounds
        )
