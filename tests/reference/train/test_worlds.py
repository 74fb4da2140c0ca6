"""The worlds that the command knows: examples that fit together, and scores by their evaluators."""

import numpy as np
import pytest
import torch

from mulo_sd.engines.prompts.vocabulary import TASKS
from mulo_sd.reference import demo
from mulo_sd.reference.demo.examples import DemoExamples
from mulo_sd.reference.tokenizer import Tokenizer
from mulo_sd.reference.train.scores import tokenizer_scores
from mulo_sd.reference.train.worlds import TRANSFORMERS, WORLD_NAMES, WorldName, world_named
from mulo_sd.reference.transformer import Transformer, TransformerConfig


@pytest.mark.parametrize("name", WORLD_NAMES)
def test_examples_keep_their_promises(name: WorldName) -> None:
    world = world_named(name)
    examples = world.examples
    null = examples.null_condition()
    for make in (examples.training, examples.held_out):
        for index in (0, 5 << 40):
            first, again = make(index), make(index)
            condition = first.condition()
            assert condition.shape == null.shape == (examples.prefix_length, null.shape[1])
            assert condition.dtype == null.dtype == np.int64
            assert 0 <= condition.min() <= condition.max() < examples.prefix_vocabulary
            assert not np.array_equal(condition, null)
            assert np.array_equal(condition, again.condition())
            for side in world.sides:
                assert np.array_equal(first.render(4 * side), again.render(4 * side))
                assert first.render(4 * side).shape == (4 * side, 4 * side, 3)
                assert first.focus(side).shape == (side, side)
                assert first.focus(side).any()
    assert not all(examples.training(index).focus(8).all() for index in range(20)), "captions speak of places"
    assert not np.array_equal(examples.training(3).render(32), examples.held_out(3).render(32))


@pytest.mark.parametrize("name", WORLD_NAMES)
def test_every_model_has_its_defaults(name: WorldName) -> None:
    world = world_named(name)
    assert world.grids == {"target": 32, "drafter_1": 16, "drafter_2": 8}
    for model in (*TRANSFORMERS, "head", "block"):
        assert world.steps[model] > 0
        assert world.batch[model] > 0
        assert 0 < world.matrix_rate[model] < 1
    for model in ("up_sampler", "down_sampler"):
        assert world.steps[model] > 0
        assert world.batch[model] > 0
    assert world.steps["tokenizer"] > 0


def test_the_demo_scores_its_drafter() -> None:
    models, world = demo.load(), world_named("demo")
    scores = world.score(models.drafters[1], models.tokenizer, 1)
    assert scores.keys() == {*TASKS, "overall"}
    assert 0 < scores["overall"] == pytest.approx(np.mean([scores[task] for task in TASKS]))


def test_the_pictograms_score_what_their_evaluator_reads(tiny_tokenizer: Tokenizer) -> None:
    """An untrained model draws none of them."""
    world = world_named("pictograms")
    examples = world.examples
    config = TransformerConfig(
        8, 8, 16, 1, 2, 16, prefix_length=examples.prefix_length, prefix_vocabulary=examples.prefix_vocabulary
    )
    scores = world.score(Transformer(config).eval(), tiny_tokenizer, 1)
    assert scores.keys() == {"single_object", "two_object", "counting", "colors", "position", "overall"}
    assert scores["overall"] == 0


@torch.inference_mode()
def test_psnr_is_of_held_out_pictures_at_every_size(tiny_tokenizer: Tokenizer) -> None:
    shipped = demo.load().tokenizer
    scores = tokenizer_scores(shipped, DemoExamples(), (16, 8), count=10)
    assert scores.keys() == {"psnr_db_32px", "psnr_db_64px"}
    expected = []
    for index in range(10):
        pixels = torch.from_numpy(DemoExamples().held_out(index).render(64))[None]
        images = pixels.permute(0, 3, 1, 2) / 127.5 - 1
        error = (shipped.images_from_tokens(shipped.tokens_from_images(images)) - images).square().mean()
        expected.append(10 * float(torch.log10(4 / error)))
    assert scores["psnr_db_64px"] == pytest.approx(np.mean(expected), abs=0.006)
    assert tokenizer_scores(tiny_tokenizer, DemoExamples(), (8,), count=2)["psnr_db_32px"] < scores["psnr_db_32px"]
