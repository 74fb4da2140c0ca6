"""Automatic widths: the fewest expected seconds for a decided cell, whatever the guesses are worth."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulo_sd.engines.rules.sweeps import Sweeps
from mulo_sd.engines.rules.widths import DECIDED, DEMO_DECIDED, DEMO_WIDTHS, LIKE_THE_DEMO, MAX_WIDTH, AutoWidth

WIDTHS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
FREE_CELLS = dict.fromkeys(WIDTHS, 1.0)  # a pass costs the same, whatever it feeds
DEAR_CELLS = {width: float(width) for width in WIDTHS}  # a pass costs what its cells cost
BETWEEN = {width: 1.0 + width / 12 for width in WIDTHS}


def drawn(seconds: Mapping[int, float], decided: Callable[[int], int], sweeps: int = 60) -> list[int]:
    """Return the widths of sweeps, each of which decides what a function says of its width."""
    auto, widths = AutoWidth(lambda: seconds), []
    for _ in range(sweeps):
        widths.append(auto.width)
        auto.note(widths[-1], decided(widths[-1]))
    return widths


def test_the_curve_is_the_demos() -> None:
    """Where guesses come true as on the demo; more often a sweep decides more, but never more than its width."""
    np.testing.assert_allclose(DECIDED[LIKE_THE_DEMO, list(DEMO_WIDTHS)], DEMO_DECIDED)
    np.testing.assert_allclose(DECIDED[:, 1], 1)
    assert (np.diff(DECIDED, axis=1) >= 0).all(), "a wider sweep decides more"
    assert (np.diff(DECIDED[:, 2:], axis=0) < 0).all(), "the larger the exponent, the less comes true"
    assert (np.arange(MAX_WIDTH + 1) + 1e-9 >= DECIDED).all()


@pytest.mark.parametrize(("seconds", "width"), [(FREE_CELLS, 256), (DEAR_CELLS, 1), (BETWEEN, 16), ({5: 1.0}, 5)])
def test_the_first_width(seconds: Mapping[int, float], width: int) -> None:
    assert AutoWidth(lambda: seconds).width == width


def test_of_equal_widths_the_widest() -> None:
    """Fewer passes: what differs by less than measuring does, does not differ."""
    by_cell = {8: 1.04, 16: 1.0, 32: 1.04, 64: 1.06}
    seconds = {width: cost * DECIDED[LIKE_THE_DEMO, width] for width, cost in by_cell.items()}
    assert AutoWidth(lambda: seconds).width == 32


def test_nothing_is_measured_before_a_width_is_asked_for() -> None:
    asked: list[int] = []

    def seconds() -> Mapping[int, float]:
        asked.append(1)
        return BETWEEN

    auto = AutoWidth(seconds)
    auto.note(4, 2)
    assert asked == []
    assert [auto.width, auto.width] == [8, 8] or auto.width == 16
    assert asked == [1], "and once"


def test_right_guesses_widen() -> None:
    """Sweeps that decide all that they sample grow as far as cells are worth it."""
    widths = drawn(BETWEEN, lambda width: width)
    assert widths[0] == 16
    assert widths[-1] >= 64
    assert widths == sorted(widths)


def test_wrong_guesses_narrow() -> None:
    """Where no guess comes true, a decode takes at most a quarter longer than by passes of one token."""
    widths = drawn(BETWEEN, lambda width: 1, sweeps=200)
    assert widths[0] == 16
    assert widths == sorted(widths, reverse=True)
    assert sum(BETWEEN[width] for width in widths) < 1.3 * len(widths) * BETWEEN[1]


def test_narrow_sweeps_do_not_last() -> None:
    """Sweeps of one cell say nothing of guesses: after some of them wider ones are tried again."""
    wrong_until = 100
    auto, widths = AutoWidth(lambda: BETWEEN), []
    for number in range(300):
        widths.append(auto.width)
        auto.note(widths[-1], 1 if number < wrong_until else widths[-1])
    assert min(widths[:wrong_until]) <= 4
    assert widths[-1] >= 64


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=30))
def test_the_same_sweeps_give_the_same_widths(seeds: list[int]) -> None:
    """What the width follows from is the image itself, so a decode that is repeated makes the same passes."""

    def decided(width: int) -> int:
        return 1 + seeds[width % len(seeds)] % width

    assert drawn(BETWEEN, decided) == drawn(BETWEEN, decided)


def test_sweeps_ask_and_tell() -> None:
    """SWEEP-6: one width a sweep, whatever is asked in between, and what it decided is told once."""
    told: list[tuple[int, int]] = []

    class Listening(AutoWidth):
        def note(self, sampled: int, decided: int) -> None:
            told.append((sampled, decided))
            super().note(sampled, decided)

    sweeps = Sweeps(np.ones((4, 8), dtype=np.bool_), False, Listening(lambda: {4: 1.0, 8: 1.5}), None)
    generator, made = np.random.default_rng(3), []
    while cells := sweeps.ready():
        assert len(sweeps.guessed(set())) == len(cells) - 1
        guesses, samples = generator.integers(0, 2, (2, len(cells)))
        made.append((len(cells), int(sweeps.settle(cells, guesses, samples).sum())))
    assert told == made
    assert {sampled for sampled, _ in made} & {4, 8}
    assert sum(decided for _, decided in made) == 32
