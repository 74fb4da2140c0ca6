"""Windows of pictures: which cells are fed, which are predicted, and in which steps."""

import numpy as np
import pytest
import torch

from mulo_sd.reference.demo.examples import DemoExamples, SceneExample
from mulo_sd.reference.train.context import RescaledContext
from mulo_sd.reference.train.windows import PICTURES, Windows
from tests.reference.train.tiny import autoregressive_trainee


def focus_at(side: int, top: int, left: int, size: int) -> np.ndarray:
    cells = np.zeros((side, side), dtype=np.bool_)
    cells[top : top + size, left : left + size] = True
    return cells


@pytest.mark.parametrize("side", [2, 3, 4, 5, 8, 32])
def test_a_window_feeds_the_cell_before_each_that_it_shows(side: int) -> None:
    """In raster order, each once, always as many, and never the last of the picture, which nothing follows."""
    width = side // 2
    for seed in range(40):
        rng = np.random.default_rng(seed)
        focus = rng.random((side, side)) < 0.3
        cells = Windows(1.0).fed(focus, rng)
        assert len(cells) == width * (width + 1) - 1
        assert (np.diff(cells) > 0).all()
        assert cells[0] >= 0
        assert cells[-1] < side * side - 1


def test_a_window_shows_as_much_of_the_focus_as_any() -> None:
    """All of one thing, wherever it stands; the first cell of the picture is predicted in any case."""
    for top in range(9):
        for left in range(9):
            focus = focus_at(16, top, left, 8)
            for seed in range(5):
                predicted = {0, *(Windows(1.0).fed(focus, np.random.default_rng(seed)) + 1).tolist()}
                assert set(np.flatnonzero(focus).tolist()) <= predicted, (top, left)


def test_a_window_is_any_where_nothing_is_known() -> None:
    nothing = np.zeros((8, 8), dtype=np.bool_)
    drawn = {tuple(Windows(1.0).fed(nothing, np.random.default_rng(seed))) for seed in range(400)}
    assert len(drawn) == 25


def test_windows_come_first_with_whole_pictures_among_them() -> None:
    windows = Windows(0.5)
    assert [windows.at(step, 20) for step in range(20)] == [True, True, True, False] * 2 + [True, True] + [False] * 10
    assert not any(Windows().at(step, 20) for step in range(20))


def test_a_step_of_windows_sees_the_pictures_of_no_other_step() -> None:
    """Three for one, each numbered for this step alone."""
    trainee = autoregressive_trainee(side=8, others=())
    seen: list[int] = []

    class Noted(DemoExamples):
        def training(self, index: int) -> SceneExample:
            seen.append(index)
            return super().training(index)

    trainee.examples = Noted()
    trainee.windows = Windows(0.5)
    for step in range(8):
        before = len(seen)
        trainee._batch(step, trainee.windows.at(step, 8))
        assert len(seen) - before == trainee.batch * (PICTURES if trainee.windows.at(step, 8) else 1)
    assert len(seen) == len(set(seen))


def test_a_window_is_a_part_of_the_same_picture() -> None:
    """What is fed and predicted are the tokens of its cells, with their weights."""
    trainee = autoregressive_trainee(side=8, others=())
    trainee.context = RescaledContext(0.0, ())
    trainee.windows = Windows(1.0)
    prefixes, tokens, contexts, weights, cells = trainee._batch(0, True)
    whole = autoregressive_trainee(side=8, others=(), batch=trainee.batch * PICTURES)
    whole.context = RescaledContext(0.0, ())
    all_prefixes, all_tokens, _, all_weights, _ = whole._batch(0)
    assert torch.equal(prefixes, all_prefixes)
    assert torch.equal(contexts, all_tokens.gather(1, cells))
    assert torch.equal(tokens[:, 1:], all_tokens.gather(1, cells + 1))
    assert torch.equal(weights[:, 1:], all_weights.gather(1, cells + 1))
    assert torch.equal(tokens[:, 0], all_tokens[:, 0])


def test_a_transformer_learns_from_windows() -> None:
    """The held-out loss of whole pictures falls, too."""
    trainee = autoregressive_trainee(side=8, others=())
    trainee.windows = Windows(1.0)
    before = trainee.held_out_loss(8)
    metrics = [trainee.step(step + 50, 10_000) for step in range(40)]
    assert np.mean([row["loss"] for row in metrics[-8:]]) < 0.9 * metrics[0]["loss"]
    assert trainee.held_out_loss(8) < 0.95 * before
