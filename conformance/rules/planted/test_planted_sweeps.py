"""The laws fail where a rule of sweeps, of guesses or of lossless decoding is broken."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from mulo_sd.conformance.rules import cycle_laws, sweep_laws
from mulo_sd.conformance.rules import decode_laws as laws
from mulo_sd.conformance.rules.on_the_reference.enumeration import Tiny, decide, fixed_points, sampled_from_all
from mulo_sd.conformance.rules.planting import Planted, around, is_found
from mulo_sd.conformance.strategies.decodes import AUTOREGRESSIVE, EXACT, PARALLEL
from mulo_sd.reference import decode as decoding
from mulo_sd.reference import exact, sweeps
from mulo_sd.reference import schedule as schedules
from mulo_sd.reference import state as states
from mulo_sd.reference.parts import Order
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.state import ModelState
from mulo_sd.reference.sweeps import Sweeps
from mulo_sd.reference.trace import Pass, Verdict

WIDE = AUTOREGRESSIVE._replace(settings=replace(AUTOREGRESSIVE.settings, sweep_width=5))
SWEPT = PARALLEL._replace(
    settings=replace(PARALLEL.settings, draft_by="sweeps", resample_by="sweeps", sweep_width=2, radius=0, tau=0.1)
)
AUTOMATIC = SWEPT._replace(settings=replace(SWEPT.settings, sweep_width="auto"))
LIMITED = SWEPT._replace(settings=replace(SWEPT.settings, sweeps=2, draft_sweeps=2))
ANCHORED = SWEPT._replace(settings=replace(SWEPT.settings, anchor=8.0, sweep_width=None))
LEFT = WIDE._replace(settings=replace(WIDE.settings, first_guess="left"))
OPENED = WIDE._replace(settings=replace(WIDE.settings, first_guess="opening", temperature=2.0, top_p=1.0))
# Islands with kept cells between theirs, which sweeps resample from a draft by windows.
RESAMPLED = SWEPT._replace(settings=replace(SWEPT.settings, draft_by="windows", radius=1, tau=0.1, sweep_width=None))


def one_more(right: Callable[..., int], guesses: Tensor, samples: Tensor) -> int:
    """Take the guess after the first differing cell as decided, too."""
    return min(right(guesses, samples) + 1, len(guesses))


def one_fewer(right: Callable[..., int], guesses: Tensor, samples: Tensor) -> int:
    """Leave the first differing cell for the next sweep."""
    return max(right(guesses, samples) - 1, 1)


def counted_from_the_right(right: Callable[..., int], guesses: Tensor, samples: Tensor) -> int:
    """Decide as many cells as have samples equal to their guesses, wherever they are."""
    return max(1, int((guesses == samples).sum()))


def guesses_stay(
    right: Callable[..., None], state: ModelState, cells: Any, tokens: Tensor, decided: Tensor, *source: Pass
) -> None:
    """Keep the guesses of the sweep before where nothing is decided."""
    kept = torch.where(decided, tokens, state.grid[list(cells)])
    right(state, cells, kept, decided, *source)


def all_is_fed_again(
    right: Callable[..., None], state: ModelState, cells: Any, tokens: Tensor, decided: Tensor, *source: Pass
) -> None:
    """Feed decided cells again whose token the deciding pass has fed."""
    right(state, cells, tokens, decided, *source)
    rows = decided.nonzero().flatten().tolist()
    state.pending.update(cells[row] for row in rows)


def wrong_guesses_stay_in_the_cache(
    right: Callable[..., None], state: ModelState, cells: Sequence[int], *rest: Any
) -> None:
    """Decide tokens without feeding them, wherever a guess was fed in their place."""
    right(state, cells, *rest)
    state.pending.clear()


def from_the_end(right: Callable[..., Any], swept: Sweeps) -> list[list[int]]:
    """Sweep the last cells of every region, and skip the first."""
    width = None if swept.is_last else swept.width
    return [region[-(width or 0) :] for region in swept.undecided]


def one_region_at_a_time(right: Callable[..., Any], swept: Sweeps) -> list[list[int]]:
    """Let every region wait for those before it."""
    regions = right(swept)
    return [*regions[:1], *([] for _ in regions[1:])]


def noise_of_the_attempt(
    right: Callable[..., Tensor], state: ModelState, cells: Any, log_probs: Tensor, attempt: int = 0, **rest: Any
) -> Tensor:
    """Draw new noise in every pass."""
    return right(state, cells, log_probs, attempt + len(state.trace.passes), **rest)


def anchored_in_the_verification(
    right: Callable[..., Tensor],
    state: ModelState,
    cells: Any,
    log_probs: Tensor,
    source: Any = None,
    anchor: Any = None,
) -> Tensor:
    """Leave the anchor out of all sweeps but the first."""
    return right(state, cells, log_probs, source, None if source is None else anchor)


class StaleScores:
    """Returns for a cell what the first pass that scored it said."""

    def __init__(self) -> None:
        self.seen: dict[tuple[ModelState, int], Tensor] = {}

    def __call__(self, right: Callable[..., Tensor], state: ModelState, cells: Any, *rest: Any) -> Tensor:
        logits = right(state, cells, *rest)
        rows = [self.seen.setdefault((state, cell), logits[:, row]) for row, cell in enumerate(cells)]
        return torch.stack(rows, dim=1)


def guessed_anew(right: Callable[..., None], state: ModelState, cells: Sequence[int]) -> None:
    """Forget the tokens that stand where cells are guessed."""
    state.grid[list(cells)] = -1
    right(state, cells)


def kept_whatever_is_drawn(right: Callable[..., Verdict], *arguments: Any) -> Verdict:
    """Say that every draft token is the target's own."""
    verdict = right(*arguments)
    return replace(verdict, kept=torch.ones_like(verdict.kept))


def late(swept: Sweeps) -> bool:
    """Let the sweep after the limit's decide what is left."""
    return swept.limit is not None and swept.made >= swept.limit


def limit_off_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make one sweep more than the limit."""
    monkeypatch.setattr(Sweeps, "is_last", property(late))


DECIDES, FEEDS = sweep_laws.sweeps_decide_what_is_certain, laws.passes_feed_exactly
PLANTED = {
    "a guess is taken as decided": Planted(around(sweeps, "certain", one_more), DECIDES, WIDE),
    "the first differing cell is not decided": Planted(around(sweeps, "certain", one_fewer), DECIDES, WIDE),
    "equal samples are counted wherever they are": Planted(
        around(sweeps, "certain", counted_from_the_right), DECIDES, WIDE
    ),
    "guesses stay those of the sweep before": Planted(around(ModelState, "settle", guesses_stay), DECIDES, WIDE),
    "right guesses are fed again": Planted(around(ModelState, "settle", all_is_fed_again), FEEDS, SWEPT),
    "a wrong guess stays in the cache": Planted(
        around(ModelState, "decide", wrong_guesses_stay_in_the_cache), laws.nothing_seen_is_gone, SWEPT
    ),
    "guesses are not fed": Planted(
        around(Sweeps, "guessed", lambda right, swept, unfed: []), laws.nothing_seen_is_gone, RESAMPLED
    ),
    "guesses that nobody sees are fed": Planted(
        around(Sweeps, "guessed", lambda right, swept, unfed: [*right(swept, unfed), *swept.ready()]), FEEDS, SWEPT
    ),
    "the last cells are swept": Planted(around(Sweeps, "_swept", from_the_end), DECIDES, EXACT),
    "regions wait for each other": Planted(around(Sweeps, "_swept", one_region_at_a_time), DECIDES, SWEPT),
    "islands are one region": Planted(
        around(schedules, "Sweeps", lambda right, cells, by_island, *rest: right(cells, False, *rest)), DECIDES, SWEPT
    ),
    "the width is forgotten": Planted(
        around(schedules, "Sweeps", lambda right, cells, by_island, width, limit: right(cells, by_island, None, limit)),
        DECIDES,
        SWEPT,
    ),
    "one cell a pass in islands": Planted(
        around(schedules, "Sweeps", lambda right, cells, by_island, width, limit: right(cells, by_island, 1, limit)),
        DECIDES,
        AUTOMATIC,
    ),
    "a limit is one sweep late": Planted(limit_off_by_one, DECIDES, LIMITED),
    "a limit is forgotten": Planted(
        around(schedules, "Sweeps", lambda right, cells, by_island, width, limit: right(cells, by_island, width, None)),
        laws.passes_are_counted,
        LIMITED,
    ),
    "draft and resampling share a limit": Planted(
        around(schedules, "Sweeps", lambda right, cells, by_island, width, limit: right(cells, by_island, width, 3)),
        cycle_laws.whole_rows_are_drafted,
        LIMITED,
    ),
    "noise of the attempt": Planted(
        around(ModelState, "draw", noise_of_the_attempt), laws.samples_follow_from_logits, WIDE
    ),
    "the anchor is left out of guesses": Planted(
        around(ModelState, "sample", anchored_in_the_verification), laws.samples_follow_from_logits, ANCHORED
    ),
    "scores of the first sweep are reused": Planted(
        around(ModelState, "query", StaleScores()), laws.samples_follow_from_logits, WIDE
    ),
    "the first guess is of the wrong neighbour": Planted(
        around(states, "first_guesses", lambda right, kind, *rest: right("left", *rest)),
        sweep_laws.first_guesses_follow,
        WIDE,
    ),
    "the token above is the guess where the left one should be": Planted(
        around(states, "first_guesses", lambda right, kind, *rest: right("above", *rest)),
        sweep_laws.first_guesses_follow,
        LEFT,
    ),
    "openings share the noise of cell 0": Planted(
        around(ModelState, "_opening", lambda right, state, cells: right(state, [0]).expand(len(cells))),
        sweep_laws.first_guesses_follow,
        OPENED,
    ),
    "a draft is guessed anew": Planted(around(ModelState, "guess", guessed_anew), DECIDES, RESAMPLED),
    "lossless decoding has a limit": Planted(
        around(exact, "Order", lambda right: Order(limit="sweeps")),
        DECIDES,
        EXACT._replace(settings=replace(EXACT.settings, sweeps=1)),
    ),
    "a draft token is kept whatever is drawn": Planted(
        around(decoding, "verify_exactly", kept_whatever_is_drawn), sweep_laws.exact_verdicts, EXACT
    ),
}


@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED.keys())
def test_planted_defects_are_found(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each law holds for a decode of the reference, and for none with the planted defect."""
    is_found(planted, monkeypatch)


TINY, SEED = Tiny(2, 2, 3, 7), 3
LOSSY = {
    "a guess is taken as decided": around(sweeps, "certain", one_more),
    "equal samples are counted wherever they are": around(sweeps, "certain", counted_from_the_right),
    "noise of the attempt": around(ModelState, "draw", noise_of_the_attempt),
    "scores of the first sweep are reused": around(ModelState, "query", StaleScores()),
    "lossless decoding has a limit": around(exact, "Order", lambda right: Order(limit="sweeps")),
}


@pytest.mark.parametrize("defect", LOSSY.values(), ids=LOSSY.keys())
def test_enumeration_finds_lossy_defects(defect: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """SWEEP-2: With such a defect some first guess leads to another image than that of raster order."""
    settings = Settings(mode="exact", sweep_width=None, sweeps=1)
    [image] = fixed_points(TINY, sampled_from_all(TINY, settings, SEED))
    world = TINY.build()
    images = [decide(TINY, world, settings, SEED, guess).tokens for guess in TINY.grids[::4]]
    assert all(torch.equal(tokens, image) for tokens in images)
    defect(monkeypatch)
    images = [decide(TINY, world, settings, SEED, guess).tokens for guess in TINY.grids[::4]]
    assert not all(torch.equal(tokens, image) for tokens in images)
