"""Mutants of judging drafts pass by pass: noise, corrections, next guesses, rounds (METHOD-2 to METHOD-4)."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np

from mulo_sd.conformance.engines.cases import METHOD_SETTINGS
from mulo_sd.conformance.mutants.mutant import Make, Mutant, patched
from mulo_sd.engines.loop import exact, speculate
from mulo_sd.engines.loop.drafts import CoarseDraft, LastSweep
from mulo_sd.engines.loop.speculate import Judged, Speculator
from mulo_sd.engines.rules import corrections
from mulo_sd.engines.rules.corrections import Prefix, Rounds
from mulo_sd.reference.settings import Mode, Settings


def of(mode: Mode, acceptance: str | None = None) -> tuple[Settings, ...]:
    """Return the first decode of a mode, by its own acceptance or another."""
    accepted = acceptance or "mode"
    return next((item,) for item in METHOD_SETTINGS if item.mode == mode and item.accept_by == accepted)


def judged(change: Callable[[Any, Judged, Any], Judged]) -> Make:
    """Change what a window's judgement says, by what was scored and what the right one says."""

    def wrong(right: Any, state: Any, scored: Any, codes: Any, judging: Any) -> Judged:
        return change(scored, right(state, scored, codes, judging), judging)

    return patched(speculate, "judge_window", wrong)


def inside(name: str, wrong: Callable[..., Any]) -> Make:
    """Replace a function as far as the judgement of a window calls it."""
    right_one = getattr(speculate, name)

    def judge(right: Any, *arguments: Any) -> Any:
        with patch.object(speculate, name, lambda *each, **more: wrong(right_one, *each, **more)):
            return right(*arguments)

    return patched(speculate, "judge_window", judge)


def _decides(by: int, only_whole: bool = False) -> Make:
    """Decide more or fewer cells of a window than its judgement says."""

    def settle(right: Any, prefix: Prefix, kept: Any) -> list[int]:
        length, before = len(kept[0]), list(prefix.undecided)
        [count] = right(prefix, kept)
        if not only_whole or count == length:
            count = min(max(1, count + by), length)
        prefix.undecided = before[count:]
        return [count]

    return patched(Prefix, "settle", settle)


def _noise(same: bool) -> Make:
    """Draw fresh samples by the noise of attempt 0, or by that of their own attempt."""

    def made(right: Any, speculator: Speculator, *arguments: Any) -> None:
        right(speculator, *arguments)
        speculator.same_noise = same

    return patched(Speculator, "__init__", made)


def _carries(carry: str) -> Make:
    """Carry later cells on in another way than the mode's."""

    def made(right: Any, speculator: Speculator, *arguments: Any) -> None:
        right(speculator, *arguments)
        speculator.judging = replace_carry(speculator.judging, carry)

    return patched(Speculator, "__init__", made)


def replace_carry(judging: Any, carry: str) -> Any:
    """Return a judging with another carry."""
    return judging._replace(carry=carry)


def _sweep_before_last(right: Any, source: LastSweep, carried: Any) -> None:
    """Take q of the sweep before last, where there was one."""
    last: dict[int, Any] = source.__dict__.setdefault("last", {})
    right(source, {cell: last.get(cell, log_q) for cell, log_q in carried.items()})
    last.update(carried)


def _fresh_is_decided(scored: Any, right: Judged, judging: Any) -> Judged:
    """Decide the first rejected cell as a sample of p."""
    return replace(right, redrawn=scored.fresh)


def _first_stays(scored: Any, right: Judged, judging: Any) -> Judged:
    """Keep the first cell whatever its chance."""
    return replace(right, kept=right.kept | (np.arange(len(right.kept)) == 0) & scored.drafted)


def _kept_has_new_q(right: Any, speculator: Speculator, scored: Any, judged: Judged) -> Any:
    """Take this pass's p for q of a draft that is kept for the next one."""
    tokens, _ = right(speculator, scored, judged)
    return tokens, scored.log_probs


def _rejected_stays(right: Any, speculator: Speculator, scored: Any, judged: Judged) -> Any:
    """Carry a rejected draft on as it was."""
    _, log_q = right(speculator, scored, judged)
    return np.where(scored.drafted, scored.guesses, scored.fresh), log_q


def _first_residual_alone(right: Any, state: Any, scored: Any, codes: Any, judging: Any) -> Judged:
    """Draw the first rejected cell alone from its residual, and the others from p."""
    return right(state, scored, codes, replace_carry(judging, "fresh"))  # type: ignore[no-any-return]  # of the engine


def _rounds(by: int) -> Make:
    """Make more or fewer rounds."""

    def made(right: Any, rounds: Rounds, cells: Any, count: int) -> None:
        right(rounds, cells, max(1, count + by))

    return patched(Rounds, "__init__", made)


def _never_rounds(right: Any, source: CoarseDraft, state: Any, proposal: Any, in_rounds: bool) -> None:
    """Put the draft back after each round."""
    right(source, state, proposal, False)


def _forgets(right: Any, source: Any, carried: Any) -> None:
    """Take every draft for one that is certain."""


_SJD, _GUMBEL, _MAXIMAL, _SSD = of("sjd"), of("sjd-gumbel"), of("sjd-maximal"), of("ssd")
# Chains that are often kept as a whole.
_ONE_DRAFT = tuple(replace(item, draft_length=1) for item in of("eagle"))
_KEPT = of("sjd", "annealed")
_CASCADE = tuple(item for item in METHOD_SETTINGS if item.refine_by == "rounds")

MUTANTS = (
    Mutant(
        "a cell is judged with U of attempt 0 in every pass",
        "METHOD-2",
        inside("uniform_noise", lambda right, *each, **_: right(*each)),
        _SJD,
    ),
    Mutant(
        "drafts are judged by the stream of samples",
        "RNG-2",
        inside("acceptance_stream", lambda right, number: right(number) - 1),
        _SJD,
    ),
    Mutant(
        "a residual is drawn by the noise of the same attempt",
        "METHOD-2",
        inside("noise_of", lambda right, state, cells, attempts: right(state, cells, attempts - 1)),
        _SJD,
    ),
    Mutant("the first rejected cell is a sample of p", "METHOD-2", judged(_fresh_is_decided), _SJD),
    Mutant("the first draft of a window stays in any case", "METHOD-2", judged(_first_stays), _SJD),
    Mutant("a cell behind the first rejection is decided", "METHOD-2", _decides(1), _SJD),
    Mutant("the first rejection is not decided", "METHOD-2", _decides(-1), _SJD),
    Mutant("the token behind a whole chain of drafts is dropped", "METHOD-2", _decides(-1, True), _ONE_DRAFT),
    Mutant(
        "a window is a cell too long",
        "METHOD-2",
        patched(corrections, "window_length", lambda right, settings: right(settings) + 1),
        _SJD,
    ),
    Mutant("coupled drafts are drawn by the noise of their attempt", "METHOD-2", _noise(False), of("eagle", "coupled")),
    Mutant("the first of coupled drafts stays in any case", "METHOD-2", judged(_first_stays), of("eagle", "coupled")),
    Mutant("q is that of the sweep before last", "METHOD-3", patched(LastSweep, "carry", _sweep_before_last), _SJD),
    Mutant("every guess of a sweep is certain", "METHOD-3", patched(LastSweep, "carry", _forgets), _SJD),
    Mutant("later guesses share their noise where it is fresh", "METHOD-3", _noise(True), _SJD),
    Mutant("later guesses have fresh noise where they share it", "METHOD-3", _noise(False), _GUMBEL),
    Mutant("later guesses are fresh where they are coupled", "METHOD-3", _carries("fresh"), _MAXIMAL),
    Mutant(
        "the first rejection alone draws from its residual where guesses are coupled",
        "METHOD-3",
        patched(speculate, "judge_window", _first_residual_alone),
        _MAXIMAL,
    ),
    Mutant("a kept guess has the new p for its q", "METHOD-3", patched(Speculator, "_carried", _kept_has_new_q), _KEPT),
    Mutant(
        "a guess is kept whatever has become of its p",
        "METHOD-3",
        patched(Speculator, "_carried", _rejected_stays),
        _KEPT,
    ),
    Mutant("a round decides before the last", "METHOD-4", _rounds(-1), _SSD),
    Mutant("a round is made too many", "METHOD-4", _rounds(1), _SSD),
    Mutant("rejected drafts go on in rounds", "METHOD-4", patched(Speculator, "_carried", _rejected_stays), _SSD),
    Mutant("drafts are certain in every round", "METHOD-4", patched(CoarseDraft, "carry", _forgets), _SSD),
    Mutant("every round begins with the draft", "METHOD-4", patched(CoarseDraft, "__init__", _never_rounds), _SSD),
    Mutant(
        "a drafter that is refined in rounds makes one too many",
        "METHOD-4",
        patched(
            exact,
            "correction_of",
            lambda right, cells, correction, settings: right(
                cells, correction, settings.model_copy(update={"rounds": settings.rounds + 1})
            ),
        ),
        _CASCADE,
    ),
    Mutant("sjd carries coupled guesses", "MODE-SJD", _carries("coupled"), _SJD),
    Mutant("sjd-maximal carries what is half as likely", "MODE-SJD", _carries("kept"), _MAXIMAL),
)
