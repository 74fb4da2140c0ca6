"""The laws of acceptance fail where a rule is wrong in a way that looks right."""

from collections.abc import Callable

import numpy as np
import pytest

from mulo_sd.conformance.rules import acceptance_laws as laws
from mulo_sd.conformance.rules.on_the_reference.test_acceptances import at, rule_of, windows_of
from mulo_sd.conformance.rules.oracle_model import Array
from mulo_sd.conformance.strategies.drafts import Drafts

Wrong = Callable[[Drafts, Array, Array], tuple[Array, Array]]


def target(window: Drafts) -> Array:
    """Return p, Float64[n, V]."""
    return np.array(window.target_probs)


def own(window: Drafts, rows: Array) -> Array:
    """Return each row's number at its draft token."""
    return rows[np.arange(len(rows)), list(window.draft_tokens)]


def drawn_from_p(window: Drafts, chances: Array, residuals: Array) -> tuple[Array, Array]:
    """Draw what replaces a token from p."""
    return chances, target(window)


def without_the_token(window: Drafts, chances: Array, residuals: Array) -> tuple[Array, Array]:
    """Take nothing but the token from p."""
    weights = target(window).copy()
    weights[np.arange(len(weights)), list(window.draft_tokens)] = 0
    return chances, weights


def q_forgotten(window: Drafts, chances: Array, residuals: Array) -> tuple[Array, Array]:
    """Keep a token with p alone."""
    return own(window, target(window)), residuals


def always_likely(window: Drafts, chances: Array, residuals: Array) -> tuple[Array, Array]:
    """Keep what p makes likelier than not."""
    return (chances >= 0.5).astype(np.float64), residuals


def at_other_settings(name: str, **changes: float) -> laws.Rule:
    """Return a rule that takes other settings than those that it is given."""
    return lambda window: rule_of(name)(at(window, **changes))


def of_places_reversed(window: Drafts) -> tuple[Array, Array]:
    """Anneal from the end of a window."""
    count = len(window.draft_tokens)
    turned = window._replace(
        target_probs=window.target_probs[::-1],
        draft_probs=window.draft_probs[::-1],
        draft_tokens=window.draft_tokens[::-1],
    )
    chances, residuals = rule_of("annealed")(turned)
    return chances[::-1][:count], residuals[::-1][:count]


PLANTED: dict[str, tuple[str, laws.Rule]] = {
    "a group one larger": ("grouped", lambda window: rule_of("grouped")(at(window, group=window.settings.group + 1))),
    "a group by place in the codebook alone": ("grouped", at_other_settings("grouped", group_probability=1.0)),
    "a group by p alone": ("grouped", at_other_settings("grouped", group_distance=4.0, group=5)),
    "factors that do not fall": ("annealed", at_other_settings("annealed", anneal_rate=0.0)),
    "factors that fall from the right": ("annealed", of_places_reversed),
    "more is lent": ("lantern", at_other_settings("lantern", lantern_delta=1.0)),
    "fewer lend": ("lantern", at_other_settings("lantern", lantern_neighbours=1)),
    "the factor itself bounds": (
        "lantern-plus",
        lambda window: rule_of("lantern-plus")(at(window, lantern_factor=window.settings.lantern_factor + 1)),
    ),
    "LANTERN's bound in LANTERN++": ("lantern-plus", rule_of("lantern")),
    "one more passes": (
        "top-beta",
        lambda window: rule_of("top-beta")(at(window, top_beta=window.settings.top_beta + 1)),
    ),
    "any gap passes": ("top-beta", at_other_settings("top-beta", top_tau=1e3)),
    "drawn where the best should be": ("top-beta", rule_of("top-beta-sampled")),
    "the best where should be drawn": ("top-beta-sampled", rule_of("top-beta")),
}
WINDOWS = [
    at(
        window,
        group=4,
        group_probability=0.1,
        group_distance=1.5,
        lantern_neighbours=5,
        lantern_delta=0.2,
        lantern_plus_neighbours=5,
        lantern_factor=3.0,
        top_beta=2,
        top_tau=0.7,
    )
    for certain in (False, True)
    for window in windows_of(certain)[:2]
]


def follows(name: str, rule: laws.Rule) -> None:
    """Hold a rule to its law on all windows."""
    for window in WINDOWS:
        laws.acceptance_follows(window, name, rule)


@pytest.mark.parametrize(("name", "wrong"), PLANTED.values(), ids=PLANTED.keys())
def test_planted_defects_are_found(name: str, wrong: laws.Rule) -> None:
    """The law of each rule holds for the reference's function, and for no wrong one."""
    follows(name, rule_of(name))
    with pytest.raises(AssertionError):
        follows(name, wrong)


@pytest.mark.parametrize("wrong", [drawn_from_p, without_the_token, q_forgotten, always_likely])
def test_enumeration_finds_lossy_defects(wrong: Wrong) -> None:
    """ACCEPT-2: such a defect changes the law of what is decided."""
    right = rule_of("lossless")
    laws.decides_as_the_target(WINDOWS[0], right)
    with pytest.raises(AssertionError):
        laws.decides_as_the_target(WINDOWS[0], lambda window: wrong(window, *right(window)))
