"""A head and a block drafter are trained on the very passes that a decode makes of them."""

from pathlib import Path

import pytest
import torch

from mulo_sd.reference.block import mask_code
from mulo_sd.reference.cache import KVCache
from mulo_sd.reference.demo.examples import DemoExamples
from mulo_sd.reference.head import SHARED, Head, HeadConfig
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.tokenizer import Tokenizer
from mulo_sd.reference.train.block import BLOCK, BlockTrainee, block_attend
from mulo_sd.reference.train.head import HeadTrainee
from mulo_sd.reference.train.unrolled import UnrolledAttention
from mulo_sd.reference.transformer import Transformer, TransformerConfig
from mulo_sd.reference.weights import WeightsError, load_head, load_transformer, save_weights
from tests.reference.train.tiny import demo_config


@pytest.fixture
def target() -> Transformer:
    torch.manual_seed(4)
    return Transformer(demo_config(8, layers=3)).eval().requires_grad_(False)


@torch.no_grad()
def test_unrolled_passes_are_chains(target: Transformer) -> None:
    """Pass j at a position is what a chain drafts there that began j - 1 tokens before, fed by the cache."""
    head = Head(HeadConfig.of(target.config))
    length, dim, depths = 20, head.config.dim, 4
    tokens, features = torch.randint(16, (1, length)), torch.randn(1, length, dim)
    positions = torch.arange(1, length + 1)
    attention, given, passes = UnrolledAttention(), features, []
    for _ in range(depths):
        _, drafted = head(tokens, given, positions[None], attention.attend)
        passes.append(drafted)
        given = torch.cat([given[:, :1], drafted[:, :-1]], dim=1)
    for start in (0, 1, 7, length - depths):
        cache = KVCache(head.config, 1)
        read = slice(0, start + 1)
        _, hidden = head(tokens[:, read], features[:, read], positions[None, read], cache.attend(positions[read]))
        for depth in range(depths):
            torch.testing.assert_close(hidden[:, -1], passes[depth][:, start + depth], rtol=0, atol=1e-5)
            if depth + 1 < depths:
                place = slice(start + depth + 1, start + depth + 2)
                _, hidden = head(
                    tokens[:, place], hidden[:, -1:], positions[None, place], cache.attend(positions[place])
                )


@torch.no_grad()
def test_blocks_of_one_pass_are_passes_of_their_own(target: Transformer, tiny_tokenizer: Tokenizer) -> None:
    """Masks see what is decided before their block, and those before them in it."""
    model = BlockTrainee(target, tiny_tokenizer, DemoExamples(), seed=0, batch=1, matrix_rate=0.01).model.eval()
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    decided = model.config.sequence_length - 1
    masks, owners = torch.tensor([14, 15, 16, 30, 31]), torch.tensor([13, 13, 13, 29, 29])
    embeddings = torch.randn(1, decided, model.config.dim)
    mask = model.token_embeddings(torch.full((1, len(masks)), mask_code(model.config)))
    positions = torch.cat([torch.arange(decided), masks])
    logits = model(torch.cat([embeddings, mask], dim=1), positions[None], block_attend(masks, owners, decided))
    torch.testing.assert_close(logits[:, :decided], model(embeddings, positions[None, :decided]), rtol=0, atol=1e-4)
    for owner, rows in ((13, slice(0, 3)), (29, slice(3, 5))):
        alone = torch.cat([embeddings[:, : owner + 1], mask[:, rows]], dim=1)
        expected = model(alone, torch.arange(alone.shape[1])[None])[:, owner + 1 :]
        torch.testing.assert_close(logits[:, decided:][:, rows], expected, rtol=0, atol=1e-4)


def test_head_begins_by_handing_features_on(target: Transformer, tiny_tokenizer: Tokenizer) -> None:
    head = HeadTrainee(target, tiny_tokenizer, DemoExamples(), seed=0, batch=1, matrix_rate=0.01).head
    features = torch.randn(1, 3, 16)
    _, hidden = head(torch.zeros(1, 3, dtype=torch.long), features, torch.arange(1, 4)[None])
    assert float((hidden - features).detach().abs().max()) < 0.7
    assert torch.equal(head.output.weight, target.output.weight)
    assert torch.equal(head.tok_embeddings.weight, target.tok_embeddings.weight)


@pytest.mark.parametrize("kind", [HeadTrainee, BlockTrainee])
def test_trainee_learns_one_batch(
    kind: type[HeadTrainee] | type[BlockTrainee],
    target: Transformer,
    tiny_tokenizer: Tokenizer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And leaves the target as it is."""
    target.output.weight.mul_(8)  # an untrained target would be content with any head
    before = {name: value.clone() for name, value in target.state_dict().items()}
    trainee = kind(target, tiny_tokenizer, DemoExamples(), seed=0, batch=2, matrix_rate=0.02)
    batch = trainee._batch(0)
    monkeypatch.setattr(trainee, "_batch", lambda step: batch)
    losses = [trainee.step(step + 50, 10_000)["loss"] for step in range(25)]
    assert losses[-1] < 0.8 * losses[0]
    assert all(torch.equal(value, before[name]) for name, value in target.state_dict().items())


def test_head_comes_back_as_saved(target: Transformer, tiny_tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Without what is the target's, which is put back."""
    trainee, path = (
        HeadTrainee(target, tiny_tokenizer, DemoExamples(), seed=0, batch=1, matrix_rate=0.01),
        tmp_path / "head.safetensors",
    )
    trainee.save(path)
    loaded = load_head(path, target)
    assert loaded.config == trainee.config
    assert path.stat().st_size < 2 * sum(value.numel() for value in loaded.layer.parameters()) + 4096
    for name, value in trainee.head.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value if name in SHARED else value.half().float())
    assert torch.equal(loaded.cos, trainee.head.cos)


def test_wrong_heads_are_told(target: Transformer, tiny_tokenizer: Tokenizer, tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    HeadTrainee(target, tiny_tokenizer, DemoExamples(), seed=0, batch=1, matrix_rate=0.01).save(path)
    other = Transformer(TransformerConfig(8, 8, 24, 1, 2, 16))
    with pytest.raises(WeightsError, match="expected a head for 24 codes and width 16, got one for 16 and 16"):
        load_head(path, other)
    with pytest.raises(WeightsError, match="expected weights of a TransformerConfig, got HeadConfig"):
        load_transformer(path)
    save_weights(target, target.config, path)
    with pytest.raises(WeightsError, match="expected weights of a HeadConfig, got TransformerConfig"):
        load_head(path, target)
    with pytest.raises(ValueError, match="expected 1 layer and no learned positions"):
        HeadConfig(8, 8, layers=2)


def test_block_of_the_default_setting() -> None:
    """What is trained is what a decode asks for."""
    assert Settings(mode="specdec").block == BLOCK
