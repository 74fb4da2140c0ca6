"""ACCEPT-2 to ACCEPT-8: rules of acceptance as functions, their limits, and how far each leaves the target's law."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import example, given

from mulo_sd.conformance.rules import acceptance_laws as laws
from mulo_sd.conformance.rules.branches import must_reach
from mulo_sd.conformance.rules.oracle_model import Array
from mulo_sd.conformance.strategies.codebooks import Codebook
from mulo_sd.conformance.strategies.drafts import Drafts, drafts
from mulo_sd.reference.acceptances import ACCEPTANCES
from mulo_sd.reference.settings import Settings


def rule_of(name: str) -> laws.Rule:
    """Return a rule of the reference as a function of drafts."""

    def rule(window: Drafts) -> tuple[Array, Array]:
        accepted = ACCEPTANCES[name](*window.tensors, window.settings, window.codes)
        return accepted.chances.numpy(), accepted.residuals.numpy()

    return rule


def at(window: Drafts, **changes: Any) -> Drafts:
    """Return the drafts with other settings."""
    return window._replace(settings=replace(window.settings, **changes))


SOME = Drafts(
    Codebook(((0,), (1,), (1,), (3,), (-1,))),
    ((0.4, 0.3, 0.1, 0.1, 0.1), (0.0, 0.25, 0.25, 0.25, 0.25), (0.2, 0.2, 0.2, 0.2, 0.2)),
    ((0.1, 0.1, 0.6, 0.1, 0.1), (1.0, 0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0, 1.0)),
    (2, 0, 4),
    Settings(group=3, group_probability=0.25, group_distance=1.5, lantern_neighbours=2, lantern_delta=0.5, top_beta=3),
)


class TestAccept2:
    """ACCEPT-2 Lossless acceptance.

    The chance is min(1, p(x) / q(x)), the residual the positive part of p - q. What is decided has the distribution
    p. Where q(x) is 0, as it may be of a draft that a lossy rule has kept, the chance is 1 if what stands above
    q(x) is above 0, else 0; so it is in all rules.
    """

    @must_reach(
        "a draft token stays in any case",
        "a draft token never stays",
        "a draft token stays by chance",
    )
    @example(SOME)
    @given(drafts())
    def test_chances(self, case: Drafts) -> None:
        """The chance of each draft token, and what replaces it."""
        laws.acceptance_follows(case, "lossless", rule_of("lossless"))

    @must_reach("the draft is certain", "the draft is drawn from another distribution")
    @example(SOME)
    @given(drafts())
    def test_law(self, case: Drafts) -> None:
        """Over all draft tokens the law of what is decided is p."""
        laws.decides_as_the_target(case, rule_of("lossless"))


class TestAccept3:
    """ACCEPT-3 Grouped acceptance.

    The chance is min(1, sum of p / sum of q) over x's group: of the codes in the order of p, equal ones by code,
    `group` / 2 before x and the rest of `group` - 1 behind it, without those whose p differs from p(x) by
    `group_probability` or more, or whose squared distance to x is `group_distance` or more. The residual is the
    positive part of p - q. One code a group is ACCEPT-2.
    """

    @must_reach("more is kept than by lossless acceptance", "a draft token stays by chance")
    @example(SOME)
    @given(drafts())
    def test_chances(self, case: Drafts) -> None:
        """The chance of each draft token, and what replaces it."""
        laws.acceptance_follows(case, "grouped", rule_of("grouped"))

    @must_reach("the draft is certain", "the draft is drawn from another distribution")
    @example(SOME)
    @given(drafts())
    def test_a_group_of_one_is_lossless(self, case: Drafts) -> None:
        """`group` 1, `group_probability` 0 and `group_distance` 0 each leave x alone."""
        for alone in ({"group": 1}, {"group_probability": 0.0}, {"group_distance": 0.0}):
            laws.decides_as_the_target(at(case, **alone), rule_of("grouped"))


class TestAccept4:
    """ACCEPT-4 Annealed acceptance.

    The i-th draft of a window, from 0 on, has the factor w_i = `anneal` * exp(-`anneal_rate` * i) / mean of
    exp(-`anneal_rate` * j) over the window. The chance is f(x) = min(1, w_i p(x) / q(x)), the residual the positive
    part of p - f q. A factor of 1 is ACCEPT-2.
    """

    @must_reach(
        "more is kept than by lossless acceptance",
        "other codes take its place than by lossless acceptance",
        "a draft token may come back",
    )
    @example(SOME)
    @given(drafts())
    def test_chances(self, case: Drafts) -> None:
        """The chance of each draft token, and what replaces it."""
        laws.acceptance_follows(case, "annealed", rule_of("annealed"))

    @must_reach("the draft is certain", "the draft is drawn from another distribution")
    @example(SOME)
    @given(drafts())
    def test_factors_up_to_1_are_lossless(self, case: Drafts) -> None:
        """With w = 1 everywhere, and with any smaller factors, the law is p."""
        for factors in ({"anneal": 1.0, "anneal_rate": 0.0}, {"anneal": 0.25}, {"anneal": 0.0}):
            rate = {"anneal_rate": min(case.settings.anneal_rate, 0.7)}
            laws.decides_as_the_target(at(case, **(rate | factors)), rule_of("annealed"))

    def test_mean_of_factors(self) -> None:
        """The mean of the factors of a window is `anneal`; the rate gives what a second reading has."""
        window = at(SOME, anneal=1.0, anneal_rate=0.7)
        for count, first in ((4, 2.144), (5, 2.595), (6, 3.066)):
            uniform = (tuple([1 / 100] * 100),) * count
            certain = (tuple(float(code == 0) for code in range(100)),) * count
            many = window._replace(
                codebook=Codebook(((0,),) * 100), target_probs=uniform, draft_probs=certain, draft_tokens=(0,) * count
            )
            factors = rule_of("annealed")(many)[0] * 100
            assert factors.mean() == pytest.approx(1, abs=1e-12)
            assert factors[0] == pytest.approx(first, abs=5e-3)


class TestAccept5:
    """ACCEPT-5 LANTERN.

    The `lantern_neighbours` codes nearest to x, x aside, equal distances by code, lend it their p from the nearest
    on, as long as the sum stays at or below `lantern_delta`. The chance is min(1, (p(x) + lent) / q(x)). The
    residual is the positive part of p - q without x, and, where something was lent, without all these codes. A
    bound of 0 is ACCEPT-2 on certain drafts.
    """

    @must_reach("more is kept than by lossless acceptance", "other codes take its place than by lossless acceptance")
    @example(SOME)
    @given(drafts())
    def test_chances(self, case: Drafts) -> None:
        """The chance of each draft token, and what replaces it."""
        laws.acceptance_follows(case, "lantern", rule_of("lantern"))

    @must_reach("the draft is certain", "the draft is drawn from another distribution")
    @example(SOME)
    @given(drafts())
    def test_a_delta_of_0_is_lossless(self, case: Drafts) -> None:
        """Nobody lends anything."""
        laws.decides_as_the_target(at(case, lantern_delta=0.0), rule_of("lantern"))


class TestAccept6:
    """ACCEPT-6 LANTERN plus.

    As ACCEPT-5, with `lantern_plus_neighbours` codes that lend up to (`lantern_factor` - 1) * p(x).
    """

    @must_reach("more is kept than by lossless acceptance", "other codes take its place than by lossless acceptance")
    @example(SOME)
    @given(drafts())
    def test_chances(self, case: Drafts) -> None:
        """The chance of each draft token, and what replaces it."""
        laws.acceptance_follows(case, "lantern-plus", rule_of("lantern-plus"))

    @must_reach("the draft is certain", "the draft is drawn from another distribution")
    @example(SOME)
    @given(drafts())
    def test_a_factor_of_1_is_lossless(self, case: Drafts) -> None:
        """Nobody lends anything."""
        laws.decides_as_the_target(at(case, lantern_factor=1.0), rule_of("lantern-plus"))


class TestAccept7:
    """ACCEPT-7 Among the best.

    The chance is 1 where fewer than `top_beta` codes have a larger p than x, equal ones ranked by code, and log
    p(x) is at most `top_tau` nats below the largest, and 0 elsewhere. In place of what does not stay, and where
    nothing is drafted, stands the code of the largest p (`"top-beta"`), or a draw from p (`"top-beta-sampled"`,
    which is ours). `top_beta` 1 and `top_tau` 0 are greedy decoding.
    """

    @must_reach("more is kept than by lossless acceptance", "a draft token never stays")
    @example(SOME)
    @given(drafts())
    def test_chances(self, case: Drafts) -> None:
        """The chance of each draft token, and what replaces it, best or drawn."""
        for name in ("top-beta", "top-beta-sampled"):
            laws.acceptance_follows(case, name, rule_of(name))

    @must_reach("a tie for the best", "the draft is another code")
    @example(SOME)
    @given(drafts())
    def test_the_best_alone_is_greedy(self, case: Drafts) -> None:
        """`top_beta` 1 decides the lowest of the best codes, `top_tau` 0 one of them."""
        for alone in ({"top_beta": 1}, {"top_tau": 0.0, "top_beta": 5}):
            laws.decides_greedily(at(case, **alone), rule_of("top-beta"))


class TestAccept8:
    """ACCEPT-8 Typical acceptance.

    The chance is 1 where p(x) is above the smaller of `typical_threshold` and `typical_factor` * exp(-H), H the entropy
    of p in nats, and 0 elsewhere; in place of what does not stay is a draw from p. A threshold of 1 with a factor so
    large that it counts keeps nothing, which is lossless.
    """

    @must_reach("a draft token stays in any case", "a draft token never stays")
    @example(SOME)
    @given(drafts())
    def test_chances(self, case: Drafts) -> None:
        """The chance of each draft token, and what replaces it."""
        laws.acceptance_follows(case, "typical", rule_of("typical"))

    @must_reach("the draft is certain", "the draft is drawn from another distribution")
    @example(SOME)
    @given(drafts())
    def test_a_threshold_of_1_is_lossless(self, case: Drafts) -> None:
        """Nothing is more likely than 1."""
        laws.decides_as_the_target(at(case, typical_threshold=1.0, typical_factor=1e6), rule_of("typical"))


@must_reach("a draft token stays in any case", "a draft token never stays")
@example(SOME)
@given(drafts())
def test_pooled_acceptance(case: Drafts) -> None:
    """POOL-1, ACCEPT-1: pooled acceptance in the form of the other rules; what is not kept is drawn from p."""
    laws.acceptance_follows(case, "pooled", rule_of("pooled"))


BIAS_WINDOWS, BIAS_LENGTH, BIAS_CODES = 6, 5, 16
# At published settings: the mean total variation between what is decided of a draft and p, where drafts are drawn from
# q, and where they are certain. docs/semantics.md has the same numbers.
BIASES: dict[str, tuple[dict[str, Any], float, float]] = {
    "lossless": ({}, 0.0, 0.0),
    "grouped": ({"group": 14}, 0.036, 0.031),
    "annealed": ({"anneal": 1.1}, 0.063, 0.069),
    "lantern": ({}, 0.238, 0.328),
    "lantern-plus": ({}, 0.207, 0.445),
    "top-beta": ({}, 0.293, 0.634),
    "top-beta-sampled": ({}, 0.227, 0.478),
    "typical": ({}, 0.234, 0.574),
}


def windows_of(certain: bool) -> list[Drafts]:
    """Return windows of drafts from a q beside p, whose total variation is about a third, or of certain drafts."""
    generator, windows = torch.Generator().manual_seed(17), []
    for _ in range(BIAS_WINDOWS):
        vectors = torch.nn.functional.normalize(torch.randn(BIAS_CODES, 4, generator=generator).double(), dim=1)
        logits = 2 * torch.randn(BIAS_LENGTH, BIAS_CODES, generator=generator).double()
        other = logits + torch.randn(BIAS_LENGTH, BIAS_CODES, generator=generator).double()
        target, source = logits.softmax(1), other.softmax(1)
        tokens = source.multinomial(1, generator=generator)
        source = torch.zeros_like(source).scatter(1, tokens, 1.0) if certain else source
        target_rows, source_rows = (tuple(tuple(row) for row in probs.tolist()) for probs in (target, source))
        codebook = Codebook(tuple(tuple(row) for row in vectors.tolist()))
        windows.append(Drafts(codebook, target_rows, source_rows, tuple(tokens.flatten().tolist()), Settings()))
    return windows


@pytest.mark.parametrize("name", BIASES)
@pytest.mark.parametrize("certain", [False, True], ids=["drawn", "certain"])
def test_biases(name: str, certain: bool) -> None:
    """ACCEPT-2 to ACCEPT-8: how far what is decided leaves p, at published settings."""
    changes, *expected = BIASES[name]
    distances = []
    for window in windows_of(certain):
        for place, probs in enumerate(window.target_probs):
            law = laws.decided_law(at(window, **changes), place, rule_of(name))
            distances.append(laws.total_variation(law, probs))
    mean = sum(distances) / len(distances)
    assert mean == pytest.approx(expected[certain], abs=1e-9 if name == "lossless" else 6e-4)
