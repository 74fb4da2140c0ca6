"""LlamaGen's and Tar's transformers answer what the published code answers."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mulo_sd.reference.cache import KVCache, feed
from mulo_sd.reference.checkpoints import llamagen
from mulo_sd.reference.checkpoints.ar_dtok import load_ar_dtok
from mulo_sd.reference.checkpoints.llamagen import load_llamagen
from mulo_sd.reference.decode import decode
from mulo_sd.reference.models import Condition, Models
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.tokenizer import Tokenizer, TokenizerConfig
from mulo_sd.reference.transformer import Transformer, TransformerConfig
from mulo_sd.reference.weights import WeightsError
from tests.reference.checkpoints import published
from tests.reference.checkpoints.published import MakeWeights

SIDE, HEADS = 8, 4


@pytest.fixture(scope="module")
def loaded(make_weights: MakeWeights, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Transformer]:
    """Every tiny transformer, loaded from a file as it is published."""
    folder = tmp_path_factory.mktemp("published")
    models = {}
    for name in ("llamagen_t2i_tiny", "llamagen_c2i_tiny"):
        tensors = published.weights(name, make_weights) | {"freqs_cis": torch.zeros(4, 4, 2)}
        models[name] = load_llamagen(published.save(tensors, folder / f"{name}.pt", steps=7), SIDE, HEADS)
    name = "tar_ardtok_tiny"
    model = {"name": "llama-abs-S", "args": published.arguments(name), "sd": published.weights(name, make_weights)}
    torch.save({"model": model}, folder / f"{name}.pth")
    models[name] = load_ar_dtok(folder / f"{name}.pth")
    return models


def conditions(name: str) -> Tensor:
    """Return a fixture's conditions, one an image."""
    cond = published.answers(name)["cond"]
    return cond[:, None, None] if name == "llamagen_c2i_tiny" else cond


@pytest.mark.parametrize("name", ["llamagen_t2i_tiny", "llamagen_c2i_tiny", "tar_ardtok_tiny"])
@torch.inference_mode()
def test_logits(loaded: dict[str, Transformer], name: str) -> None:
    """Teacher-forced over the whole sequence."""
    model, answers = loaded[name], published.answers(name)
    prefix = model.prefix_embeddings(conditions(name))
    embeddings = torch.cat([prefix, model.token_embeddings(answers["tokens"][:, :-1])], dim=1)
    positions = torch.arange(embeddings.shape[1])
    cache = KVCache(model.config, len(embeddings))
    logits = feed(model, cache, embeddings, positions)[:, model.config.prefix_length - 1 :]
    torch.testing.assert_close(logits, answers["logits"], rtol=0, atol=2e-5)


def tokenizer_for(model: Transformer) -> Tokenizer:
    """Return a tokenizer with the model's vocabulary: a decode wants one, and in MODE-AR does not use it."""
    return Tokenizer(TokenizerConfig(codes=model.config.vocabulary, code_dim=4, width=8))


@pytest.mark.parametrize(
    ("name", "greedy", "guidance_scale", "is_masked"),
    [
        ("llamagen_t2i_tiny", "greedy_cfg1", 1.0, False),
        ("llamagen_t2i_tiny", "greedy_cfg7p5", 7.5, True),
        ("llamagen_c2i_tiny", "greedy_cfg1", 1.0, False),
        ("llamagen_c2i_tiny", "greedy_cfg7p5", 7.5, False),
        ("tar_ardtok_tiny", "greedy_cfg4", 4.0, False),
    ],
)
def test_greedy(loaded: dict[str, Transformer], name: str, greedy: str, guidance_scale: float, is_masked: bool) -> None:
    """The reference's own MODE-AR makes the whole sequence, with each family's null condition."""
    model, answers = loaded[name], published.answers(name)
    models = Models(model, (), tokenizer_for(model))
    settings = Settings(mode="ar", guidance_scale=guidance_scale, temperature=0.0)
    for index, expected in enumerate(answers[greedy]):
        shown = answers["cond_mask"][index].bool() if is_masked else None
        condition = Condition(conditions(name)[index], shown=shown)
        decoded = decode(models, condition, settings, seed=0)
        assert decoded.tokens.flatten().tolist() == expected.tolist()
        fed = decoded.trace.passes[0].positions
        assert len(fed) == (int(shown.sum()) if shown is not None else model.config.prefix_length)


def refusal(load: Callable[[Path], Transformer], path: Path) -> str:
    with pytest.raises(WeightsError) as error:
        load(path)
    told = str(error.value)
    assert str(path) in told
    assert "\n" not in told
    return told


def test_wrong_files_are_told(make_weights: MakeWeights, tmp_path: Path) -> None:
    tiny = partial(load_llamagen, grid_side=SIDE, heads=HEADS)
    tensors = published.weights("llamagen_c2i_tiny", make_weights)
    vq = published.save({"encoder.conv_in.weight": torch.zeros(2, 2)}, tmp_path / "vq_ds16_t2i.pt")
    assert "expected a transformer" in refusal(tiny, vq)
    assert "expected an AR-DTok" in refusal(load_ar_dtok, vq)
    changed = {name: value for name, value in tensors.items() if name != "norm.weight"} | {
        "output.weight": torch.zeros(256, 5),
        "extra": torch.zeros(1),
    }
    told = refusal(tiny, published.save(changed, tmp_path / "changed.pt"))
    for part in ("missing: norm.weight", "unknown: extra", "misshapen: output.weight ([256, 5], not [256, 96])"):
        assert part in told
    whole = published.save(tensors, tmp_path / "c2i.pt")
    assert "published size" in refusal(partial(load_llamagen, grid_side=SIDE), whole)
    assert "multiple of" in refusal(partial(load_llamagen, grid_side=SIDE, heads=5), whole)
    bare = {name: value for name, value in tensors.items() if not name.startswith("cls")}
    assert "uncond_embedding (t2i)" in refusal(tiny, published.save(bare, tmp_path / "bare.pt"))
    deep = tensors | {"layers.900.attention.wo.weight": torch.zeros(96, 96)}
    assert "missing: layers.10.attention" in refusal(tiny, published.save(deep, tmp_path / "deep.pt"))


def test_wrong_ar_dtoks_are_told(make_weights: MakeWeights, tmp_path: Path) -> None:
    name = "tar_ardtok_tiny"
    tensors, told = published.weights(name, make_weights), published.arguments(name)

    def saved(model: object) -> Path:
        torch.save({"model": model}, tmp_path / "ar_dtok.pth")
        return tmp_path / "ar_dtok.pth"

    without = {key: value for key, value in told.items() if key != "n_head"}
    assert "published size" in refusal(load_ar_dtok, saved({"name": "vit", "args": without, "sd": tensors}))
    wrong = {"name": "llama-abs-S", "sd": tensors}
    assert "cls_token_num" in refusal(load_ar_dtok, saved({**wrong, "args": told | {"cls_token_num": "9"}}))
    assert "square grid" in refusal(load_ar_dtok, saved({**wrong, "args": told | {"cls_token_num": 10}}))
    assert "square grid" in refusal(load_ar_dtok, saved({**wrong, "args": told | {"cls_token_num": 900}}))
    assert "published size" in refusal(load_ar_dtok, saved(tensors))


def test_published_sizes() -> None:
    """What a shape does not tell: heads of every size, 100 channels a head in the largest."""
    assert {dim // heads for (_, dim), heads in llamagen.HEADS.items()} == {64, 100}
    config = TransformerConfig(
        32, 32, vocabulary=16384, layers=36, heads=20, dim=1280, prefix_length=120, condition="caption"
    )
    with torch.device("meta"):
        model = Transformer(replace(config, condition_width=2048, zero_prefix_rotation=True, absolute=False))
    assert sum(value.numel() for value in model.parameters()) == 777_678_080


def test_a_condition_must_fit() -> None:
    with pytest.raises(ValueError, match="one of them set at least"):
        Condition(torch.zeros(3, 2), shown=torch.zeros(3, dtype=torch.bool))
    with pytest.raises(ValueError, match="3 marks"):
        Condition(torch.zeros(3, 2), shown=torch.tensor([True, True]))
    model = Transformer(TransformerConfig(2, 2, vocabulary=8, layers=1, heads=1, dim=8, prefix_length=2))
    with pytest.raises(ValueError, match="expected a null condition"):
        Condition(torch.zeros(2, 1, dtype=torch.long)).prefixes(model, 2.0)
    with pytest.raises(ValueError, match="expected 2 prefix tokens, got 3"):
        Condition(torch.zeros(3, 1, dtype=torch.long)).prefixes(model, 1.0)


@torch.inference_mode()
def test_fewer_semantic_ids(loaded: dict[str, Transformer], make_weights: MakeWeights, tmp_path: Path) -> None:
    """With a shorter prefix image tokens stand closer to it, at the positions that follow: the published code's way."""
    name = "tar_ardtok_tiny"
    model = {"args": published.arguments(name), "sd": published.weights(name, make_weights)}
    torch.save({"model": model}, tmp_path / "ar_dtok.pth")
    shorter, whole = load_ar_dtok(tmp_path / "ar_dtok.pth", semantic_ids=4), loaded[name]
    assert (shorter.config.prefix_length, shorter.config.grid_height) == (4, SIDE)
    assert shorter.abs_pe is not None
    assert whole.abs_pe is not None
    assert torch.equal(shorter.abs_pe[:-1], whole.abs_pe[: 4 + SIDE**2 - 1])
    for wrong in (0, 10):
        with pytest.raises(WeightsError, match="expected 1 to 9 semantic ids"):
            load_ar_dtok(tmp_path / "ar_dtok.pth", semantic_ids=wrong)
