"""The order of training."""

from collections import Counter
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mulo_sd.reference.train.folder.epochs import Epochs


@given(st.integers(1, 300), st.integers(0, 2**64 - 1), st.integers(0, 10**9))
def test_every_picture_once_an_epoch(count: int, seed: int, epoch: int) -> None:
    epochs = Epochs(count, seed)
    assert sorted(epochs.place(epoch * count + number) for number in range(count)) == list(range(count))


def test_orders_differ() -> None:
    def order(seed: int, epoch: int) -> tuple[int, ...]:
        return tuple(Epochs(50, seed).place(epoch * 50 + number) for number in range(50))

    assert len({order(seed, epoch) for seed in range(5) for epoch in range(5)}) == 25
    assert order(3, 4) == order(3, 4)


def test_orders_are_even() -> None:
    """Each picture stands everywhere alike, and follows every other alike."""
    for count in (8, 13):
        places = np.array([[Epochs(count, seed).place(n) for n in range(count)] for seed in range(3000)])
        expected = 3000 / count
        for column in places.T:
            counts = np.bincount(column, minlength=count)
            assert ((counts - expected) ** 2 / expected).sum() < 40  # chi-squared of 12 degrees: 1 in 10,000
        pairs = Counter((int(one), int(other)) for row in places for one, other in pairwise(row))
        expected = 3000 * (count - 1) / (count * (count - 1))
        assert len(pairs) == count * (count - 1)
        assert max(abs(value - expected) for value in pairs.values()) < 6 * expected**0.5


def test_a_million_pictures_need_no_list() -> None:
    epochs = Epochs(1_000_000, 7)
    places = [epochs.place(n) for n in range(2000)]
    assert len(set(places)) == 2000
    assert abs(np.mean(places) / 500_000 - 1) < 0.05
