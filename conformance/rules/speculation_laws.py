"""What the rules say about drafts that are judged pass by pass, each checked on a decode's trace.

As in decode_laws.py, a law raises AssertionError where it is broken. p of every cell is recomputed from the logits of
its pass, and q of a draft from those of the pass that drew it.
"""

from collections import Counter
from itertools import product
from typing import NamedTuple

from torch import Tensor

from mulo_sd.conformance.rules import acceptance_oracles, oracles
from mulo_sd.conformance.rules.branches import NEAR_TIE, reach
from mulo_sd.conformance.rules.decode_case import DecodeCase
from mulo_sd.conformance.rules.decode_laws import may_be_sampled, models_of, near_processed, recorded
from mulo_sd.conformance.rules.drawing import codebook_of, hangs_on_rounding, may_be_drawn, may_have_chance
from mulo_sd.conformance.rules.replay import BLOCK, HEAD, passes_of, told_of
from mulo_sd.conformance.rules.speculating import Judged, Method
from mulo_sd.reference.decode import Decoded
from mulo_sd.reference.trace import Pass

# What p or q may be: one distribution, or a few where rounding may add or drop a code.
Likely = list[list[float]]


def logits_of(case: DecodeCase, prefill: Pass, source: Pass, cell: int) -> Tensor:
    """Return the logits that a cell is scored by, Float[B, V]."""
    if cell == 0:
        return recorded(prefill)[:, -1]
    return recorded(source)[:, source.positions.tolist().index(case.prefix_length + cell - 1)]


def drafting_logits(case: DecodeCase, decoded: Decoded, model: int, source: Pass, cell: int) -> Tensor:
    """Return the logits that a head or a block drafter gave a cell before a pass of the target, Float[B, V]."""
    passes = decoded.trace.passes
    before = next(index for index, item in enumerate(passes) if item is source)
    position = case.prefix_length + cell - 1
    for item in reversed(passes[:before]):
        if item.model == model and position in item.positions:
            return recorded(item)[:, item.positions.tolist().index(position)]
    raise AssertionError(f"model {model} never drafted cell {cell}")


class Window(NamedTuple):
    """A window of a pass, as a law judges it.

    Attributes:
        case: The decode.
        number: The model.
        method: How its drafts are judged.
        item: What the trace tells of it.
        likely: p of each cell.
        sources: q of each draft, by cell.
    """

    case: DecodeCase
    number: int
    method: Method
    item: Judged
    likely: dict[int, Likely]
    sources: dict[int, Likely]


def drafts_are_judged(case: DecodeCase, decoded: Decoded) -> None:
    """METHOD-2 to METHOD-5, ACCEPT-2 to ACCEPT-7: chances, draws, tokens and next drafts of every window."""
    for number in models_of(case):
        prefill = passes_of(decoded, number)[0]
        for _, method, passes in told_of(case, decoded, number).speculations:
            held: dict[int, Likely] = {}
            drafted_before: Counter[int] = Counter()
            for item in (item for windows in passes for item in windows):
                cells, source = item.window.cells, item.source
                likely = {cell: near_processed(case, logits_of(case, prefill, source, cell)) for cell in cells}
                sources = sources_of(case, decoded, method, item, held)
                window = Window(case, number, method, item, likely, sources)
                if method.draft in ("head", "block"):
                    drafts_are_drawn(case, decoded, item, method, sources, drafted_before)
                chances_follow(window)
                for place in range(len(cells)):
                    token_follows(window, place)
                held |= next_sources(window)


def sources_of(
    case: DecodeCase, decoded: Decoded, method: Method, item: Judged, held: dict[int, Likely]
) -> dict[int, Likely]:
    """Return what q of each draft may be, by cell."""
    sources = {}
    for cell, guess in zip(item.window.cells, item.told.guesses.tolist(), strict=True):
        if cell in item.window.drafted:
            certain = [[float(code == guess) for code in range(case.codes)]]
            sources[cell] = certain
            if method.draft == "head":
                sources[cell] = near_processed(case, drafting_logits(case, decoded, HEAD, item.source, cell))
            elif method.draft == "sweep" or method.correction == "rounds":
                sources[cell] = held.get(cell, certain)
                reach("a draft was drawn from the last pass", cell in held)
            reach("a draft is certain", sources[cell] is certain)
    return sources


def next_sources(window: Window) -> dict[int, Likely]:
    """METHOD-3: what the drafts of the next pass are drawn from: this pass's p, or for one that is kept its own q."""
    later = window.item.window.cells[window.item.decided :]
    return {cell: window.sources[cell] if is_retained(window, cell) else window.likely[cell] for cell in later}


def is_retained(window: Window, cell: int) -> bool:
    """METHOD-3: whether a draft stays the next one by the carry "kept", with the q that it came from."""
    if window.method.carry != "kept" or cell not in window.sources:
        return False
    place = window.item.window.cells.index(cell)
    guess, token = (int(tokens[place]) for tokens in (window.item.told.guesses, window.item.told.tokens))
    now, before = window.likely[cell][0][guess], window.sources[cell][0][guess]
    if window.case.rounding.nats and abs(now - 0.5 * before) <= 4 * window.case.rounding.nats * before:
        reach(NEAR_TIE)
        return guess == token
    reach("a draft stays for the next pass", now > 0.5 * before)
    return now > 0.5 * before


def drafts_are_drawn(
    case: DecodeCase, decoded: Decoded, item: Judged, method: Method, sources: dict[int, Likely], before: Counter[int]
) -> None:
    """METHOD-6, METHOD-2: a head draws each draft by noise of its own, a block drafter takes the likeliest."""
    for cell, guess in zip(item.window.cells, item.told.guesses.tolist(), strict=True):
        if cell not in sources:
            continue
        if method.draft == "head":
            attempt = before[cell]
            noise = [oracles.gumbel(case.seed, 2 * HEAD, cell, code, attempt) for code in range(case.codes)]
            before[cell] += 1
            reach("a cell is drafted again", attempt > 0)
        else:
            noise, logits = [0.0] * case.codes, drafting_logits(case, decoded, BLOCK, item.source, cell)
            # The last code is the mask, which is never drafted.
            sources = sources | {cell: [probs[: case.codes] for probs in near_processed(case, logits)]}
        assert may_be_sampled(case, sources[cell], noise, guess), (
            f"cell {cell}: drafts {guess}, expected {oracles.sampled(sources[cell][0], noise)}"
        )


def chances_follow(window: Window) -> None:
    """ACCEPT-2 to ACCEPT-7, METHOD-2: the chance of each draft, and which stay."""
    case, item = window.case, window.item
    drafted = [cell for cell in item.window.cells if cell in window.sources]
    rows = zip(
        item.window.cells,
        item.told.guesses.tolist(),
        item.told.chances.tolist(),
        item.told.kept.tolist(),
        item.attempts,
        item.told.attempts.tolist(),
        strict=True,
    )
    for cell, guess, chance, kept, attempt, told_attempt in rows:
        what = f"model {window.number}, cell {cell}, attempt {attempt}"
        assert told_attempt == attempt, f"{what}: tells attempt {told_attempt}"
        if cell not in window.sources:
            assert not kept, f"{what}: keeps a draft where there is none"
            continue
        if window.method.acceptance == "coupled":
            noise = [oracles.gumbel(case.seed, 2 * window.number, cell, code) for code in range(case.codes)]
            right = kept == (guess == oracles.sampled(window.likely[cell][0], noise))
            near = kept == may_be_sampled(case, window.likely[cell], noise, guess)
            assert right or near, f"{what}: {'keeps' if kept else 'rejects'} {guess}"
            continue
        place, codebook = drafted.index(cell), codebook_of(case)
        expected = [
            acceptance_oracles.accepted(
                window.method.acceptance, probs, draft_probs, guess, place, len(drafted), case.settings, codebook
            )[0]
            for probs, draft_probs in product(window.likely[cell], window.sources[cell])
        ]
        assert any(may_have_chance(chance, value, case.rounding) for value in expected) or hangs_on_rounding(
            window.method.acceptance, window.likely[cell][0], guess, case
        ), f"{what}: draft {guess} stays with {chance:.9g}, expected {expected[0]:.9g}"
        draw = (oracles.word(case.seed, 2 * window.number + 1, cell, 0, attempt) + 0.5) / oracles.WORD
        assert kept == (draw < chance), f"{what}: {'kept' if kept else 'rejected'} at U {draw:.6g}, chance {chance:.6g}"
        reach("a draft is kept by chance", kept and chance < 1)
        reach("a draft is rejected", not kept)
        reach("a cell is judged again", attempt > 0)


def token_follows(window: Window, place: int) -> None:
    """METHOD-2, METHOD-3: what a cell is decided as, or drafted as for the next pass."""
    told, cell = window.item.told, window.item.window.cells[place]
    token, guess, kept = int(told.tokens[place]), int(told.guesses[place]), bool(told.kept[place])
    is_decided = place < window.item.decided
    what = f"model {window.number}, cell {cell}: {'decides' if is_decided else 'goes on with'} {token}"
    if kept and (is_decided or window.method.carry == "coupled"):
        assert token == guess, f"{what}, expected its draft {guess}"
    elif not is_decided and is_retained(window, cell):
        assert token == guess, f"{what}, expected its draft {guess}, which is half as likely as before or more"
    elif cell in window.sources and (is_decided or window.method.carry == "coupled"):
        assert is_drawn_in_its_place(window, cell, guess, token), f"{what}, which is not drawn in place of {guess}"
        reach("a token is drawn from a residual")
    else:
        attempt = 0 if window.method.same_noise else window.item.attempts[place]
        assert is_fresh(window, cell, attempt, token), f"{what}, which is no sample of p"
        reach("a token is drawn where nothing is drafted", is_decided)
        reach("a later draft is a fresh sample", not is_decided)


def noise_of(window: Window, cell: int, attempt: int) -> list[float]:
    """RNG-1, RNG-2: the noise that samples of a cell's p are drawn by."""
    return [
        oracles.gumbel(window.case.seed, 2 * window.number, cell, code, attempt) for code in range(window.case.codes)
    ]


def is_fresh(window: Window, cell: int, attempt: int, token: int) -> bool:
    """Return whether a token is what noise makes of p, or where nothing is drawn the likeliest."""
    is_greedy = window.method.acceptance == "top-beta"
    noise = [0.0] * window.case.codes if is_greedy else noise_of(window, cell, attempt)
    return may_be_sampled(window.case, window.likely[cell], noise, token)


def is_drawn_in_its_place(window: Window, cell: int, guess: int, token: int) -> bool:
    """Return whether a token is drawn from the residual of a draft, by the noise of the attempt after this one."""
    case, attempts = window.case, dict(zip(window.item.window.cells, window.item.attempts, strict=True))
    if window.method.acceptance == "coupled":
        return is_fresh(window, cell, 0, token)
    if window.method.acceptance == "top-beta":
        return is_fresh(window, cell, 0, token)
    drafted = [other for other in window.item.window.cells if other in window.sources]
    noise = noise_of(window, cell, attempts[cell] + 1)
    for probs, draft_probs in product(window.likely[cell], window.sources[cell]):
        _, replacement = acceptance_oracles.accepted(
            window.method.acceptance,
            probs,
            draft_probs,
            guess,
            drafted.index(cell),
            len(drafted),
            case.settings,
            codebook_of(case),
        )
        if may_be_drawn(replacement, noise, token, case.rounding):
            return True
    return hangs_on_rounding(window.method.acceptance, window.likely[cell][0], guess, case)
