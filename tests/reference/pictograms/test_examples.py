"""Pictograms as examples: what asks for them, and which cells their captions speak of."""

import numpy as np
import pytest
from tokenizers import Tokenizer

from mulo_sd.engines.prompts.caption_ids import NULL, PADDING
from mulo_sd.reference.pictograms.captions import Wish, is_plural
from mulo_sd.reference.pictograms.examples import CAPTIONS_FILE, PREFIX_LENGTH, TRAINING_SHARES, PictogramExamples
from mulo_sd.reference.pictograms.scenes import HELD_OUT_SPLIT, TRAINING_SPLIT, Scene, scene
from mulo_sd.reference.pictograms.sheet import pictograms

EXAMPLES = PictogramExamples()
LEARNED = 2000


def test_what_asks_for_several_pictograms_is_learned_most() -> None:
    tasks = [EXAMPLES.training(index).scene.wish.task for index in range(LEARNED)]
    for task, share in TRAINING_SHARES.items():
        assert tasks.count(task) / LEARNED == pytest.approx(share, abs=0.04)
    assert sum(TRAINING_SHARES.values()) == pytest.approx(1)


@pytest.mark.parametrize("index", [0, 7, 1 << 40])
def test_an_example_is_a_scene_of_its_split(index: int) -> None:
    for example, expected in (
        (EXAMPLES.training(index), scene(index, TRAINING_SPLIT, EXAMPLES.training(index).scene.wish.task)),
        (EXAMPLES.held_out(index), scene(index, HELD_OUT_SPLIT)),
    ):
        assert example.scene == expected
        assert np.array_equal(example.render(32), expected.render(32))


def test_a_condition_is_the_caption_and_padding() -> None:
    tokenizer = Tokenizer.from_file(str(CAPTIONS_FILE))
    for index in range(50):
        example = EXAMPLES.training(index)
        condition = example.condition()
        assert condition.shape == (PREFIX_LENGTH, 1)
        ids = [value for value in condition[:, 0].tolist() if value != PADDING]
        assert condition[:, 0].tolist() == ids + [PADDING] * (PREFIX_LENGTH - len(ids))
        assert tokenizer.decode(ids).strip() == example.scene.caption
        assert max(ids) < EXAMPLES.prefix_vocabulary
    assert EXAMPLES.null_condition().tolist() == [[NULL]] * PREFIX_LENGTH
    assert len({EXAMPLES.training(index).condition().tobytes() for index in range(50)}) > 45


def test_no_caption_is_cut() -> None:
    """A word's ids are its own, so the longest names make the longest captions."""
    counts = {item.index: len(EXAMPLES.captions.ids(Wish((item.index,)).caption)) for item in pictograms()}
    by_length = sorted(counts, key=lambda index: counts[index])
    longest = by_length[-1]
    counted = [index for index in by_length if not is_plural(pictograms()[index].name)][-20:]
    wishes = [
        *(Wish((by_length[-1], by_length[-2]), relation) for relation in ("left of", "right of", "above", "below")),
        *(Wish((longest,), ground=ground) for ground in ("orange", "purple")),
        *(Wish((index,) * 3) for index in counted),
    ]
    lengths = [len(EXAMPLES.captions.ids(wish.caption)) for wish in wishes]
    assert max(lengths) == 10 <= PREFIX_LENGTH


@pytest.mark.parametrize("side", [8, 16, 32])
def test_the_focus_holds_every_pictogram_and_not_the_whole_picture(side: int) -> None:
    """Except where the caption names the ground."""
    shares = []
    for index in range(30):
        example = EXAMPLES.held_out(index)
        focus = example.focus(side)
        bare = Scene(example.scene.wish, (), example.scene.ground).render(side * 4)
        drawn = (example.render(side * 4) != bare).any(axis=-1).reshape(side, 4, side, 4).any(axis=(1, 3))
        assert focus.shape == (side, side)
        assert not (drawn & ~focus).any()
        if example.scene.wish.ground is None:
            shares.append(focus.mean())
        else:
            assert focus.all()
    assert 0 < len(shares) < 30
    assert 0.3 < np.mean(shares) < 0.6
