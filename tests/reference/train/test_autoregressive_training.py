"""Training of transformers: what they learn, on what tokens, and what is drawn and measured meanwhile."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from mulo_sd.reference.demo.examples import DemoExamples, SceneExample
from mulo_sd.reference.tokenizer import ImageTokenizer
from mulo_sd.reference.train.autoregressive import AutoregressiveTrainee
from mulo_sd.reference.train.block import BlockTrainee
from mulo_sd.reference.train.context import RescaledContext
from mulo_sd.reference.train.head import HeadTrainee
from mulo_sd.reference.train.run import Trainee
from mulo_sd.reference.transformer import Transformer
from tests.reference.train.tiny import (
    autoregressive_trainee,
    block_trainee,
    demo_config,
    make_tokenizer,
    make_vq_tokenizer,
)


@pytest.mark.parametrize("tokenizer", [make_tokenizer(), make_vq_tokenizer()], ids=["own", "published"])
def test_a_transformer_learns_one_batch(tokenizer: ImageTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the tokens of a tokenizer of either kind, which stays as it is."""
    before = {name: value.clone() for name, value in tokenizer.state_dict().items()}
    trainee = autoregressive_trainee(tokenizer=tokenizer)
    batch = trainee._batch(0)
    monkeypatch.setattr(trainee, "_batch", lambda *step: batch)
    metrics = [trainee.step(step + 50, 10_000) for step in range(30)]
    assert metrics[-1]["loss"] < 0.8 * metrics[0]["loss"]
    assert metrics[-1].keys() == {"loss", "accuracy", "focus_accuracy"}
    assert all(torch.equal(value, before[name]) for name, value in tokenizer.state_dict().items())


@pytest.mark.parametrize("kind", [AutoregressiveTrainee, HeadTrainee, BlockTrainee])
def test_a_tokenizer_of_other_codes_is_told_in_one_line(kind: Callable[..., Trainee]) -> None:
    config = replace(demo_config(8), vocabulary=32)
    model = config if kind is AutoregressiveTrainee else Transformer(config)
    rest = {"context": RescaledContext(0.5, ())} if kind is AutoregressiveTrainee else {}
    with pytest.raises(ValueError, match=r"^vocabulary: expected the image tokenizer's 16 codes, got a model of 32; "):
        kind(model, make_tokenizer(), DemoExamples(), seed=0, batch=1, matrix_rate=0.01, **rest)


def test_no_focus_weighs_all_cells_alike() -> None:
    trainee = autoregressive_trainee(focus_weight=1.0)
    assert (trainee._batch(0)[3] == 1).all()
    assert trainee.step(0, 10).keys() == {"loss", "accuracy"}


class HeldOutAlone(DemoExamples):
    """Examples of which nobody may learn."""

    def training(self, index: int) -> SceneExample:
        raise AssertionError(index)


def test_the_held_out_loss_is_a_mean_over_the_held_out_split() -> None:
    """The same in batches of any size, the last of which is smaller."""
    trainee = autoregressive_trainee()
    trainee.examples = HeldOutAlone()
    torch.nn.init.normal_(trainee.model.output.weight, generator=torch.Generator().manual_seed(0))
    each: list[float] = []
    for count in range(1, 6):
        trainee.batch = 1
        each.append(trainee.held_out_loss(count) * count - sum(each))
    assert max(each) > 1.02 * min(each)
    for batch in (2, 3, 5):
        trainee.batch = batch
        assert trainee.held_out_loss(5) == pytest.approx(sum(each) / 5, rel=1e-3)


def test_samples_are_drawn(tmp_path: Path) -> None:
    """Twelve pictures below the true ones, each 16 pixels a side, magnified 16 times."""
    autoregressive_trainee().draw(tmp_path / "samples.png")
    with Image.open(tmp_path / "samples.png") as picture:
        assert picture.size == (6 * 256, 4 * 256)


def test_a_block_has_masks_wherever_it_begins() -> None:
    """On a grid of fewer cells than a block, too."""
    trainee = block_trainee()
    assert {trainee._batch(step)[2] for step in range(200)} == set(range(25))
