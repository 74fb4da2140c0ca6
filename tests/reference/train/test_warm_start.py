"""Starting from other weights: what is taken, what is made anew, and what does not fit."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mulo_sd.reference.checkpoints.ar_dtok import load_ar_dtok
from mulo_sd.reference.checkpoints.llamagen import load_llamagen
from mulo_sd.reference.demo.examples import DemoExamples
from mulo_sd.reference.random_weights import fill
from mulo_sd.reference.train.autoregressive import AutoregressiveTrainee
from mulo_sd.reference.train.context import RescaledContext
from mulo_sd.reference.train.warm_start import config_like
from mulo_sd.reference.transformer import Transformer, TransformerConfig
from tests.reference.train.tiny import demo_config, make_tokenizer

# Of small models of the published kinds: one class, a caption's features, an image's features.
PUBLISHED = {
    "c2i": TransformerConfig(6, 6, 16, 2, 2, 16, 1, 11, condition="class", zero_prefix_rotation=True, absolute=False),
    "t2i": TransformerConfig(
        6, 6, 16, 2, 2, 16, 5, 1, condition="caption", condition_width=7, zero_prefix_rotation=True, absolute=False
    ),
    "ar_dtok": TransformerConfig(6, 6, 16, 2, 2, 16, 9, 1, condition="features", condition_width=7, rotary=False),
}
LAYERS = ("tok_embeddings.", "layers.", "norm.", "output.")


def published(name: str, folder: Path) -> Transformer:
    """Return a model of random weights, written and loaded as published ones are."""
    model = Transformer(PUBLISHED[name])
    fill(model, torch.Generator().manual_seed(2), 2.0)
    tensors = dict(model.state_dict())
    path = folder / f"{name}.pt"
    if name == "ar_dtok":
        tensors["abs_pe"] = tensors["abs_pe"][None, :-1]
        torch.save({"model": {"model": tensors, "args": {"n_head": 2, "cls_token_num": 9}}}, path)
        return load_ar_dtok(path)
    torch.save({"model": tensors}, path)
    return load_llamagen(path, 6, heads=2)


def trainee(config: TransformerConfig) -> AutoregressiveTrainee:
    return AutoregressiveTrainee(config, make_tokenizer(), DemoExamples(), 3, 2, 0.01, RescaledContext(0.5, ()))


def config_of(name: str, grid: int = 8) -> TransformerConfig:
    return config_like(PUBLISHED[name], grid, DemoExamples.prefix_length, DemoExamples.prefix_vocabulary)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_model_like_a_published_one_keeps_what_is_its_architecture(name: str) -> None:
    theirs = replace(PUBLISHED[name], rope_base=5000.0)
    ours = config_like(theirs, 8, DemoExamples.prefix_length, DemoExamples.prefix_vocabulary)
    assert (ours.grid_height, ours.grid_width, ours.condition, ours.condition_width) == (8, 8, "fields", 0)
    assert (ours.prefix_length, ours.prefix_vocabulary) == (12, 78)
    for kept in ("dim", "heads", "layers", "vocabulary", "rope_base", "rotary", "absolute", "zero_prefix_rotation"):
        assert getattr(ours, kept) == getattr(theirs, kept)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_model_gives_its_layers_and_learns_our_captions(name: str, tmp_path: Path) -> None:
    other, ours = published(name, tmp_path), trainee(config_of(name))
    begun = {key: value.clone() for key, value in ours.model.state_dict().items()}
    ours.warm_start(other)
    warm, given = ours.model.state_dict(), other.state_dict()
    for key, value in warm.items():
        if key.startswith(LAYERS):
            assert torch.equal(value, given[key]), key
        elif key != "abs_pe":
            assert torch.equal(value, begun[key]), key
    assert warm["cls_embedding.weight"].shape == (78, 16)
    if name == "ar_dtok":
        assert torch.equal(warm["abs_pe"][:12], begun["abs_pe"][:12])
        assert not torch.equal(warm["abs_pe"][12:], begun["abs_pe"][12:])
    else:
        assert "abs_pe" not in warm
    before = {key: value.clone() for key, value in warm.items()}
    for step in range(2):
        ours.step(step, 10)
    assert all(not torch.equal(value, before[key]) for key, value in ours.model.state_dict().items())


def test_learned_positions_of_the_grid_are_resized(tmp_path: Path) -> None:
    """Bilinearly, as pictures are: of a grid of the same size they stay as they are."""
    other = published("ar_dtok", tmp_path)
    same, finer = trainee(config_of("ar_dtok", 6)), trainee(config_of("ar_dtok", 12))
    for each in (same, finer):
        each.warm_start(other)
    assert torch.equal(same.model.state_dict()["abs_pe"][12:], other.state_dict()["abs_pe"][9:])
    coarse = other.state_dict()["abs_pe"][9:].reshape(6, 6, 16)
    fine = finer.model.state_dict()["abs_pe"][12:].reshape(12, 12, 16)
    torch.testing.assert_close(fine[0, 0], coarse[0, 0])
    torch.testing.assert_close(fine[1, 0], 0.75 * coarse[0, 0] + 0.25 * coarse[1, 0])


def test_a_drafter_gives_a_target_of_the_same_captions_everything() -> None:
    """The demo's target starts from its drafter: the condition's table and the prefix's positions as well."""
    drafter, target = Transformer(demo_config(4)), trainee(demo_config(8))
    fill(drafter, torch.Generator().manual_seed(2), 2.0)
    target.warm_start(drafter)
    warm, given = target.model.state_dict(), drafter.state_dict()
    assert all(torch.equal(value, given[key]) for key, value in warm.items() if key != "abs_pe")
    assert torch.equal(warm["abs_pe"][:12], given["abs_pe"][:12])


def test_other_captions_are_learned_anew() -> None:
    drafter, target = Transformer(replace(demo_config(4), prefix_vocabulary=50)), trainee(demo_config(8))
    begun = {key: value.clone() for key, value in target.model.state_dict().items()}
    target.warm_start(drafter)
    warm = target.model.state_dict()
    assert torch.equal(warm["cls_embedding.weight"], begun["cls_embedding.weight"])
    assert torch.equal(warm["abs_pe"][:12], begun["abs_pe"][:12])
    assert torch.equal(warm["output.weight"], drafter.output.weight)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda config: replace(config, dim=24), "of dim 16, got one of dim 24"),
        (lambda config: replace(config, layers=3), "of layers 1, got one of layers 3"),
        (lambda config: replace(config, vocabulary=32), "of vocabulary 16, got one of vocabulary 32"),
        (lambda config: replace(config, heads=4), "of heads 2, got one of heads 4"),
        (
            lambda config: replace(config, rotary=False, zero_prefix_rotation=True),
            "of rotary True, zero_prefix_rotation False, got one of rotary False, zero_prefix_rotation True",
        ),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(
    change: Callable[[TransformerConfig], TransformerConfig], told: str
) -> None:
    """And nothing is taken."""
    ours = trainee(demo_config(4))
    begun = {key: value.clone() for key, value in ours.model.state_dict().items()}
    with pytest.raises(ValueError, match=r"^warm start: expected weights of a model ") as caught:
        ours.warm_start(Transformer(change(demo_config(8))))
    assert str(caught.value).endswith(told)
    assert all(torch.equal(value, begun[key]) for key, value in ours.model.state_dict().items())
