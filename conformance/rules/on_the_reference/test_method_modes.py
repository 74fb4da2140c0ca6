"""MODE-UNMASKED, and the modes that are methods of others: what they read, decide and are lossless in."""

from typing import Any

import pytest
import torch
from hypothesis import example, given

from mulo_sd.conformance.rules import decode_laws, speculation_laws
from mulo_sd.conformance.rules.branches import must_reach, share_of_examples
from mulo_sd.conformance.rules.on_the_reference.enumeration import Tiny
from mulo_sd.conformance.rules.on_the_reference.method_enumeration import (
    Enumeration,
    Guess,
    distance,
    raster_law,
    rule_at,
    target_given,
)
from mulo_sd.conformance.rules.on_the_reference.test_methods import (
    BLOCK,
    MAXIMAL,
    PJD,
    SJD,
    of_mode,
)
from mulo_sd.conformance.strategies.decodes import PARALLEL, Case, cases
from mulo_sd.reference.acceptances import Accepted, Acceptor
from mulo_sd.reference.acceptances.lossless import lossless
from mulo_sd.reference.settings import MODES, Mode

TWO_CODES, THREE_CODES = Tiny(2, 2, 2, 7), Tiny(1, 3, 3, 7)


class TestModeUnmasked:
    """MODE-UNMASKED ZipAR as published.

    MODE-ZIPAR, where each query also sees every position before its own that is not decoded yet, with keys and
    values of zeros; so the published code has it. There is no adaptive window.
    """

    @must_reach("a pass feeds a stand-in")
    @share_of_examples(2)
    @given(cases(("zipar-published",), max_cells=24))
    def test_zeros_are_seen(self, case: Case) -> None:
        """Logits are those of queries that see zeros at every position before theirs that is not decoded yet."""
        decoded = case.run(record_logits=True)
        decode_laws.logits_follow_from_passes(case, decoded)
        decode_laws.samples_follow_from_logits(case, decoded)
        decode_laws.passes_are_counted(case, decoded)
        decode_laws.nothing_seen_is_gone(case, decoded)

    def test_it_is_another_law_than_zipar(self) -> None:
        """Where rows overlap the images differ from MODE-ZIPAR's, and in raster order they do not."""
        published, masked = (of_mode(mode, window=2).run(record_logits=True) for mode in ("zipar-published", "zipar"))
        first, other = (
            [item.logits.tolist() for item in decoded.trace.passes if item.logits is not None]
            for decoded in (published, masked)
        )
        assert first != other
        raster = [of_mode(mode, window=None).run().tokens.tolist() for mode in ("zipar-published", "zipar")]
        assert raster[0] == raster[1]


class TestModeSjd:
    """MODE-SJD Speculative Jacobi decoding.

    Drafts from the last sweep, ACCEPT-2, `"prefix"`. MODE-SJD is lossless in distribution. `sjd` carries fresh
    noise (SJD, arXiv 2410.01699, window 16); `sjd-gumbel` the same noise, and `sjd-maximal` coupled tokens (SCD,
    arXiv 2510.24211, windows 16 to 64). Nothing is trained.
    """

    @pytest.mark.parametrize("window", [1, 2, 3, 4])
    @pytest.mark.parametrize(
        ("tiny", "carry"),
        [
            (TWO_CODES, "fresh"),
            (TWO_CODES, "same"),
            (TWO_CODES, "coupled"),
            (THREE_CODES, "fresh"),
            (THREE_CODES, "coupled"),
        ],
    )
    def test_lossless(self, tiny: Tiny, carry: str, window: int) -> None:
        """METHOD-3, ACCEPT-2: over all choices the law of images is that of raster order, to 1e-9."""
        given_tokens = target_given(tiny)
        law = Enumeration(tiny, given_tokens, lossless, carry).by_sweeps(window)
        assert distance(law, raster_law(tiny, given_tokens)) < 1e-9

    @must_reach("a token is drawn from a residual", "a draft is kept by chance")
    @example(SJD)
    @example(MAXIMAL)
    @share_of_examples(4)
    @given(cases(("sjd", "sjd-gumbel", "sjd-maximal"), max_cells=16))
    def test_decodes(self, case: Case) -> None:
        """The choices of a decode are those that are enumerated."""
        speculation_laws.drafts_are_judged(case, case.run(record_logits=True))

    def test_parts(self) -> None:
        """The three carry what their names say."""
        modes: tuple[Mode, ...] = ("sjd", "sjd-gumbel", "sjd-maximal")
        assert [MODES[mode].carry for mode in modes] == ["fresh", "same", "coupled"]


def undiminished(*arguments: Any) -> Accepted:
    """Draw what replaces a draft from p."""
    return Accepted(lossless(*arguments).chances, arguments[0])


def indifferent(*arguments: Any) -> Accepted:
    """Keep a draft with p, whatever it was drawn from."""
    own = arguments[0].gather(1, arguments[2][:, None])[:, 0]
    return Accepted(own, lossless(*arguments).residuals)


class ForgottenSource(Enumeration):
    """Forgets what drafts were drawn from."""

    def source(self, guess: Guess) -> tuple[float, ...]:
        """Return the same probability for every code."""
        return (1 / self.tiny.codes,) * self.tiny.codes


@pytest.mark.parametrize("rule", [undiminished, indifferent])
def test_enumeration_finds_lossy_rules(rule: Acceptor) -> None:
    """MODE-SJD, MODE-EAGLE: with such a rule images have another law, by sweeps, chains and trees."""
    given_tokens, drafting = target_given(TWO_CODES), target_given(TWO_CODES._replace(weights_seed=9))
    right, courses = raster_law(TWO_CODES, given_tokens), Enumeration(TWO_CODES, given_tokens, rule)
    assert distance(courses.by_sweeps(3), right) > 1e-3
    assert distance(courses.by_chains(drafting, 2), right) > 1e-3
    assert distance(courses.by_trees(drafting, (2, 2), certain=False), right) > 1e-3


@pytest.mark.parametrize("carry", ["fresh", "same", "coupled"])
def test_enumeration_finds_a_wrong_q(carry: str) -> None:
    """METHOD-3: another q than that which a draft was drawn from changes the law of images."""
    given_tokens = target_given(TWO_CODES)
    law = ForgottenSource(TWO_CODES, given_tokens, lossless, carry).by_sweeps(3)
    assert distance(law, raster_law(TWO_CODES, given_tokens)) > 1e-3


class TestModeGsd:
    """MODE-GSD Grouped speculative decoding.

    MODE-SJD's `sjd` with ACCEPT-3 (GSD, ICCV 2025). Lossy; nothing is trained.
    """

    def test_lossy(self) -> None:
        """A group of several biases images; a group of one does not."""
        given_tokens = target_given(THREE_CODES)
        right = raster_law(THREE_CODES, given_tokens)
        wide = rule_at("grouped", group=3, group_probability=1.0, group_distance=4.0)
        assert distance(Enumeration(THREE_CODES, given_tokens, wide).by_sweeps(3), right) > 1e-2
        assert distance(Enumeration(THREE_CODES, given_tokens, rule_at("grouped", group=1)).by_sweeps(3), right) < 1e-9

    def test_fewer_passes(self) -> None:
        """It decides in fewer passes than MODE-SJD."""
        grouped = of_mode("gsd", group=11, group_probability=1.0, group_distance=4.0)
        passes = [sum(case._replace(seed=seed).run().nfe_target for seed in range(8)) for case in (grouped, SJD)]
        assert passes[0] < passes[1]


class TestModeCoolsd:
    """MODE-COOLSD Annealed speculative decoding.

    A head's chain, ACCEPT-4, `"prefix"` (COOL-SD, arXiv 2601.09212; its factors' normalisation is second-hand).
    Lossy; the head is trained.
    """

    def test_lossy_above_1(self) -> None:
        """Factors above 1 bias images, and smaller ones do not."""
        given_tokens, drafting = target_given(THREE_CODES), target_given(THREE_CODES._replace(weights_seed=9))
        right = raster_law(THREE_CODES, given_tokens)
        for anneal, is_lossless in ((2.0, False), (1.0, True), (0.5, True)):
            courses = Enumeration(THREE_CODES, given_tokens, rule_at("annealed", anneal=anneal, anneal_rate=0.0))
            assert (distance(courses.by_chains(drafting, 2), right) < 1e-9) == is_lossless

    @share_of_examples(8)
    @given(cases(("cool-sd",), max_cells=16))
    def test_decodes(self, case: Case) -> None:
        """Chances of a chain have the factors of their places."""
        speculation_laws.drafts_are_judged(case, case.run(record_logits=True))


class TestModeSpecdec:
    """MODE-SPECDEC Speculative decoding by blocks.

    Blocks of a block drafter's most likely tokens, ACCEPT-7, `"prefix"` (SpecDec, arXiv 2203.16487, block 25, beta
    5, tau 3); with `draft_from` `"coarse"` blocks of the up-sampled draft. Lossy; the block drafter is trained.
    """

    @example(BLOCK)
    @share_of_examples(8)
    @given(cases(("specdec",), max_cells=16))
    def test_decodes(self, case: Case) -> None:
        """Drafts are the likeliest of the block drafter, and those among the target's best pass."""
        speculation_laws.drafts_are_judged(case, case.run(record_logits=True))

    def test_greedy_at_the_limit(self) -> None:
        """With `top_beta` 1 the image is that of greedy decoding, from any draft."""
        greedy = of_mode("ar", PARALLEL, temperature=0.0).run().tokens
        for draft in ("block", "coarse", "head"):
            case = of_mode("specdec", PARALLEL, draft_from=draft, top_beta=1, block=4)
            assert torch.equal(case.run().tokens, greedy)


class TestModePjd:
    """MODE-PJD Parallel Jacobi decoding.

    Drafts from the last sweep, ACCEPT-2, `"rows"`, and the carry `"kept"` (PJD, arXiv 2606.05703, windows of 8, a
    lead of 4 to 32). Lossy: kept drafts are no coupling, and rows do not wait for all that is before them. Nothing
    is trained.
    """

    @must_reach("rows are open side by side")
    @example(PJD)
    @share_of_examples(8)
    @given(cases(("pjd",), max_cells=24))
    def test_decodes(self, case: Case) -> None:
        """Rows are judged side by side, and drafts that are half as likely as before or more stay."""
        speculation_laws.drafts_are_judged(case, case.run(record_logits=True))

    def test_fewer_passes_than_rows_in_turn(self) -> None:
        """A short lead takes fewer passes than a long one."""
        passes = [
            sum(of_mode("pjd", row_lead=lead)._replace(seed=seed).run().nfe_target for seed in range(6))
            for lead in (1, 99)
        ]
        assert passes[0] < passes[1]
