"""Mutants of the rules of acceptance that judge drafts (ACCEPT-2 to ACCEPT-8, METHOD-1)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from typing import Any
from unittest.mock import patch

import numpy as np

from mulo_sd.conformance.engines.cases import METHOD_SETTINGS
from mulo_sd.conformance.mutants.mutant import Make, Mutant, patched
from mulo_sd.conformance.subject import Subject
from mulo_sd.engines.rules.acceptances import ACCEPTANCES, Accepted, Acceptor
from mulo_sd.engines.rules.acceptances.grouped import group_of
from mulo_sd.engines.settings import Settings
from mulo_sd.reference.settings import Settings as ReferenceSettings

# The modules, which their package hides behind the rules of the same names.
ANNEALED, GROUPED, LANTERN = (
    import_module(f"mulo_sd.engines.rules.acceptances.{name}") for name in ("annealed", "grouped", "lantern")
)
# Takes the right rule and what it is asked: probs, draft_probs, drafts, places, settings, codes.
Wrong = Callable[..., Accepted]


def by(acceptance: str) -> tuple[ReferenceSettings, ...]:
    """Return the first decode in which an acceptance judges drafts pass by pass, or those of a tree."""
    judged = (item for item in METHOD_SETTINGS if item.decoding.is_speculative)
    return next((item,) for item in judged if item.decoding.acceptance == acceptance)


def ruled(acceptance: str, wrong: Wrong) -> Make:
    """Replace a rule of acceptance by wrong(the right one, its arguments...)."""
    right = ACCEPTANCES[acceptance]

    def rule(*arguments: Any) -> Accepted:
        return wrong(right, *arguments)

    @contextmanager
    def make(subject: Subject) -> Iterator[Subject]:
        with patch.dict(ACCEPTANCES, {acceptance: rule}):
            yield replace(subject)  # another object: nothing that the right engine drew is taken for its

    return make


def at(**changes: Any) -> Wrong:
    """Judge by other settings than those of the decode: numbers, or what to make of them."""

    def wrong(right: Wrong, *arguments: Any) -> Accepted:
        *first, settings, codes = arguments
        return right(*first, other(settings, changes), codes)

    return wrong


def other(settings: Settings, changes: dict[str, Any]) -> Settings:
    """Return settings with changes, each a value or a function of the one before."""
    made = {name: value(getattr(settings, name)) if callable(value) else value for name, value in changes.items()}
    return settings.model_copy(update=made)


def own(rows: Any, drafts: Any) -> Any:
    """Return each row's number at its draft token, Float64[n]."""
    return np.take_along_axis(rows, drafts[:, None], axis=1)[:, 0]


def _the_other_ratio(right: Acceptor, probs: Any, draft_probs: Any, drafts: Any, *rest: Any) -> Accepted:
    """Keep a draft token with q / p."""
    accepted: Accepted = right(probs, draft_probs, drafts, *rest)
    return replace(accepted, chances=np.minimum(own(draft_probs, drafts) / own(probs, drafts), 1))


def _without_q(right: Acceptor, probs: Any, draft_probs: Any, drafts: Any, *rest: Any) -> Accepted:
    """Keep a draft token with p, as if it were certain."""
    return replace(right(probs, draft_probs, drafts, *rest), chances=own(probs, drafts))


def _likelier_than_not(right: Acceptor, *arguments: Any) -> Accepted:
    """Keep what has a chance of a half or more."""
    accepted = right(*arguments)
    return replace(accepted, chances=(accepted.chances >= 0.5).astype(np.float64))


def _residual_is_p(right: Acceptor, probs: Any, *rest: Any) -> Accepted:
    """Draw what takes a draft token's place from p."""
    return replace(right(probs, *rest), residuals=probs)


def _token_alone_is_taken(right: Acceptor, probs: Any, draft_probs: Any, drafts: Any, *rest: Any) -> Accepted:
    """Draw from p without the draft token, which is right where that is certain."""
    left = probs.copy()
    np.put_along_axis(left, drafts[:, None], 0, axis=1)
    return replace(right(probs, draft_probs, drafts, *rest), residuals=left)


def _residual_is_the_distance(right: Acceptor, probs: Any, draft_probs: Any, *rest: Any) -> Accepted:
    """Draw from |p - q|."""
    return replace(right(probs, draft_probs, *rest), residuals=np.abs(probs - draft_probs))


def _one_code_off(right: Any, probs: Any, drafts: Any, settings: Any, codes: Any) -> Any:
    """Begin the group at the code that is one likelier."""
    order = np.argsort(-probs, axis=1, kind="stable")
    ranks = np.argsort(order, axis=1)
    group = right(probs, drafts, settings, codes)
    first = np.take_along_axis(ranks, drafts[:, None], axis=1)[:, 0] - settings.group // 2 - 1
    rows = np.flatnonzero(first >= 0)
    group[rows, order[rows, first[rows]]] = True
    return group


def _p_alone_is_grouped(right: Acceptor, probs: Any, draft_probs: Any, drafts: Any, *rest: Any) -> Accepted:
    """Compare the group's p with the draft token's own q."""
    group = group_of(probs, drafts, *rest[1:])
    chances = np.minimum((probs * group).sum(axis=1) / own(draft_probs, drafts), 1)
    return replace(right(probs, draft_probs, drafts, *rest), chances=chances)


def _mean_is_forgotten(right: Any, places: Any, settings: Any) -> Any:
    """Let the first factor be `anneal`, and not the mean of all."""
    return settings.anneal * np.exp(-settings.anneal_rate * places)


def _factor_is_forgotten_in_the_residual(right: Acceptor, probs: Any, draft_probs: Any, *rest: Any) -> Accepted:
    """Draw from the positive part of p - q."""
    return replace(right(probs, draft_probs, *rest), residuals=np.maximum(probs - draft_probs, 0))


def _lends_to_itself(right: Any, probs: Any, draft_probs: Any, drafts: Any, *rest: Any) -> Accepted:
    """Count the draft token's own p twice where something is lent."""
    accepted: Accepted = right(probs, draft_probs, drafts, *rest)
    mine, q = own(probs, drafts), own(draft_probs, drafts)
    lent = accepted.chances * q - mine > 1e-9
    return replace(accepted, chances=np.where(lent, np.minimum(accepted.chances + mine / q, 1), accepted.chances))


def _lenders_stay(right: Any, probs: Any, draft_probs: Any, drafts: Any, *rest: Any) -> Accepted:
    """Draw what takes a draft token's place from its lenders, too."""
    left = np.maximum(probs - draft_probs, 0)
    np.put_along_axis(left, drafts[:, None], 0, axis=1)
    accepted: Accepted = right(probs, draft_probs, drafts, *rest)
    return replace(accepted, residuals=left)


def _threshold_by_the_larger(
    right: Acceptor, probs: Any, draft_probs: Any, drafts: Any, places: Any, settings: Any, codes: Any
) -> Accepted:
    """Ask for the larger of the two thresholds."""
    entropies = -(probs * np.log(np.where(probs > 0, probs, 1))).sum(axis=1)
    least = np.maximum(settings.typical_factor * np.exp(-entropies), settings.typical_threshold)
    return Accepted((own(probs, drafts) > least).astype(np.float64), probs)


def _below_the_threshold(right: Acceptor, *arguments: Any) -> Accepted:
    """Keep what is not typical."""
    accepted = right(*arguments)
    return replace(accepted, chances=1 - accepted.chances)


def _pools_itself_twice(
    right: Acceptor, probs: Any, draft_probs: Any, drafts: Any, places: Any, settings: Any, codes: Any
) -> Accepted:
    """Pool the draft token's own p twice."""
    sums = np.take_along_axis(probs, codes.neighbours[drafts], axis=1).sum(axis=1) + own(probs, drafts)
    return Accepted((sums >= settings.tau).astype(np.float64), probs)


def _of(acceptance: str, rule: str, *mutants: tuple[str, Make]) -> tuple[Mutant, ...]:
    """Return mutants of a rule of acceptance, looked for where it judges."""
    return tuple(Mutant(name, rule, make, by(acceptance)) for name, make in mutants)


MUTANTS = (
    *_of(
        "lossless",
        "ACCEPT-2",
        ("a draft stays with q / p", ruled("lossless", _the_other_ratio)),
        ("a draft stays with p, whatever it was drawn from", ruled("lossless", _without_q)),
        ("a draft stays where it is likelier to than not", ruled("lossless", _likelier_than_not)),
        ("a draft's place is taken by a sample of p", ruled("lossless", _residual_is_p)),
        ("the residual leaves out the draft alone", ruled("lossless", _token_alone_is_taken)),
        ("the residual has what q has more than p, too", ruled("lossless", _residual_is_the_distance)),
    ),
    *_of(
        "grouped",
        "ACCEPT-3",
        ("a group begins one code off", patched(GROUPED, "group_of", _one_code_off)),
        ("a group takes codes of any p", ruled("grouped", at(group_probability=1.0))),
        ("a group takes codes of any distance", ruled("grouped", at(group_distance=4.0))),
        ("a group is the draft alone", ruled("grouped", lambda right, *arguments: ACCEPTANCES["lossless"](*arguments))),
        ("the group's p is compared with the draft's own q", ruled("grouped", _p_alone_is_grouped)),
    ),
    *_of(
        "annealed",
        "ACCEPT-4",
        ("the annealing factor is forgotten", ruled("annealed", at(anneal=1.0, anneal_rate=0.0))),
        ("annealing factors do not fall", ruled("annealed", at(anneal_rate=0.0))),
        ("the first annealing factor is the mean", patched(ANNEALED, "factors", _mean_is_forgotten)),
    ),
    Mutant(
        "the residual forgets the annealing factor",
        "ACCEPT-4",
        ruled("annealed", _factor_is_forgotten_in_the_residual),
        tuple(replace(item, anneal=0.4) for item in by("annealed")),  # it takes factors below 1 to see it
    ),
    *_of(
        "lantern",
        "ACCEPT-5",
        ("a lender lends without a bound", ruled("lantern", at(lantern_delta=1.0))),
        ("one code less lends", ruled("lantern", at(lantern_neighbours=lambda count: count - 1))),
        ("the draft lends to itself", patched(LANTERN, "lend", _lends_to_itself)),
        ("lenders may take a draft's place", patched(LANTERN, "lend", _lenders_stay)),
    ),
    *_of(
        "lantern-plus",
        "ACCEPT-6",
        ("the factor itself bounds what is lent", ruled("lantern-plus", at(lantern_factor=lambda factor: factor + 1))),
        (
            "what is lent is bounded as LANTERN bounds it",
            ruled("lantern-plus", lambda right, *arguments: ACCEPTANCES["lantern"](*arguments)),
        ),
    ),
    *_of(
        "top-beta",
        "ACCEPT-7",
        ("one code more is among the best", ruled("top-beta", at(top_beta=lambda count: count + 1))),
        ("a draft may lie any distance below the best", ruled("top-beta", at(top_tau=1e3))),
        ("the draft's place is taken by a sample", ruled("top-beta", _residual_is_p)),
    ),
    *_of(
        "top-beta-sampled",
        "ACCEPT-7",
        (
            "the draft's place is taken by the best",
            ruled("top-beta-sampled", lambda right, *arguments: ACCEPTANCES["top-beta"](*arguments)),
        ),
        ("twice the distance below the best is near", ruled("top-beta-sampled", at(top_tau=lambda nats: 2 * nats))),
    ),
    *_of(
        "typical",
        "ACCEPT-8",
        ("the larger of the typical thresholds counts", ruled("typical", _threshold_by_the_larger)),
        ("what is not typical stays", ruled("typical", _below_the_threshold)),
        ("the residual leaves out what is not typical", ruled("typical", _token_alone_is_taken)),
    ),
    *_of(
        "pooled",
        "METHOD-1",
        ("a head's draft is pooled twice", ruled("pooled", _pools_itself_twice)),
        (
            "accept_by is ignored where a head drafts",
            ruled("pooled", lambda right, *arguments: ACCEPTANCES["lossless"](*arguments)),
        ),
    ),
)
