"""LANTERN's published drafting heads load, at full size, and answer what the published layer answers."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from mulo_sd.reference.cache import KVCache
from mulo_sd.reference.checkpoints.lantern import NAMES, PROJECTIONS, load_lantern_head, published_shapes
from mulo_sd.reference.head import SHARED, Head, HeadConfig
from mulo_sd.reference.transformer import Transformer, TransformerConfig
from mulo_sd.reference.weights import WeightsError

XL = TransformerConfig(
    32,
    32,
    vocabulary=16384,
    layers=1,
    heads=20,
    dim=1280,
    prefix_length=120,
    condition="caption",
    condition_width=2048,
    zero_prefix_rotation=True,
    absolute=False,
)
TINY = TransformerConfig(4, 4, 24, 1, 2, 16, prefix_length=3, zero_prefix_rotation=True, absolute=False)


def drawn(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(7)
    return {name: torch.randn(shape, generator=generator) / shape[-1] ** 0.5 for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def tiny() -> Transformer:
    torch.manual_seed(3)
    return Transformer(TINY).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    return drawn(published_shapes(HeadConfig.of(TINY)))


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_tiny_head_answers_as_published(
    name: str, tiny: Transformer, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    """The whole sequence at once, prefix included: at index i of the published sequence, position i + 1 of ours."""
    path = tmp_path / name
    save_file(tensors, path) if name.endswith("safetensors") else torch.save(tensors, path)
    head = load_lantern_head(path, tiny)
    length = TINY.sequence_length - 1
    generator = torch.Generator().manual_seed(5)
    tokens = torch.randint(TINY.vocabulary, (2, length), generator=generator)
    tokens[:, : TINY.prefix_length - 1] = 0
    features = torch.randn(2, length, TINY.dim, generator=generator)
    expected = published_answer(tensors, tokens, features)
    positions = torch.arange(1, length + 1)
    logits, hidden = head(tokens, features, positions[None].expand(2, -1))
    torch.testing.assert_close(hidden, expected, rtol=0, atol=2e-5)
    torch.testing.assert_close(logits, expected @ tiny.output.weight.t(), rtol=0, atol=2e-5)
    cache = KVCache(head.config, 2)
    steps = [
        head(tokens[:, place, None], features[:, place, None], one[None].expand(2, -1), cache.attend(one))[1]
        for place, one in enumerate(positions[:, None])
    ]
    torch.testing.assert_close(torch.cat(steps, dim=1), expected, rtol=0, atol=2e-5)


def published_answer(tensors: Mapping[str, Tensor], tokens: Tensor, features: Tensor) -> Tensor:
    """Return the hidden states of a published head, written down from its code alone."""
    batch, length, dim = features.shape
    heads, side, first = TINY.heads, TINY.grid_width, TINY.prefix_length - 1
    half = dim // heads // 2
    frequencies = 1 / 10000 ** (torch.arange(0, half, 2).float() / half)
    cos, sin = torch.zeros(length, half), torch.zeros(length, half)
    for index in range(first, length):
        row, column = divmod(index - first, side)
        angles = torch.cat([row * frequencies, column * frequencies])
        cos[index], sin[index] = angles.cos(), angles.sin()

    def rotated(x: Tensor) -> Tensor:
        pairs = x.reshape(batch, length, heads, half, 2)
        real, imaginary = pairs[..., 0], pairs[..., 1]
        c, s = cos[:, None], sin[:, None]
        return torch.stack([real * c - imaginary * s, imaginary * c + real * s], -1).reshape(batch, length, heads, -1)

    x = torch.cat([tensors["embed_tokens.weight"][tokens], features], -1) @ tensors["fc.weight"].t()
    x = x + tensors["fc.bias"]
    q, k, v = (
        (x @ tensors[f"layers.0.self_attn.{name}_proj.weight"].t()).reshape(batch, length, heads, -1) for name in "qkv"
    )
    scores = torch.einsum("bihd,bjhd->bhij", rotated(q), rotated(k)) / (dim // heads) ** 0.5
    scores = scores.masked_fill(~torch.ones(length, length, dtype=torch.bool).tril(), -torch.inf)
    mixed = torch.einsum("bhij,bjhd->bihd", scores.softmax(-1), v).reshape(batch, length, dim)
    x = x + mixed @ tensors["layers.0.self_attn.o_proj.weight"].t()
    normed = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)
    normed = normed * tensors["layers.0.post_attention_layernorm.weight"]
    gate, up = (normed @ tensors[f"layers.0.mlp.{name}_proj.weight"].t() for name in ("gate", "up"))
    return x + (F.silu(gate) * up) @ tensors["layers.0.mlp.down_proj.weight"].t()


def test_full_size_fits_what_is_published(tmp_path: Path) -> None:
    """LlamaGen XL's head: width 1,280, and 3,584 in its feed-forward; half precision, as training saves."""
    matrix, wide = (1280, 1280), (3584, 1280)
    shapes: dict[str, tuple[int, ...]] = {
        **{f"layers.0.self_attn.{name}_proj.weight": matrix for name in "qkvo"},
        **{f"layers.0.mlp.{name}_proj.weight": wide for name in ("gate", "up")},
        "layers.0.mlp.down_proj.weight": (1280, 3584),
        "embed_tokens.weight": (16384, 1280),
        "layers.0.post_attention_layernorm.weight": (1280,),
        "fc.weight": (1280, 2560),
        "fc.bias": (1280,),
    }
    assert published_shapes(HeadConfig.of(XL)) == shapes
    tensors = {name: torch.zeros(shape, dtype=torch.float16).normal_(0, 0.02) for name, shape in shapes.items()}
    path = tmp_path / "model.safetensors"
    save_file(tensors, path)
    with torch.device("meta"):
        target = Transformer(XL)
    target.output = torch.nn.Linear(1280, 16384, bias=False)
    head = load_lantern_head(path, target)
    own = {name: value for name, value in head.named_parameters() if name not in SHARED}
    assert sum(value.numel() for value in own.values()) == (2 * 1280 + 1) * 1280 + 4 * 1280**2 + 3 * 1280 * 3584 + 1280
    assert torch.equal(head.fc.weight, tensors["fc.weight"].float())
    qkv = head.layer.attention.wqkv.weight
    assert torch.equal(qkv[1280:2560], tensors["layers.0.self_attn.k_proj.weight"].float())
    assert head.config == HeadConfig.of(XL)
    assert head.output.weight is not None
    assert not any(value.requires_grad for value in head.parameters())


def test_names_cover_every_tensor_of_a_head() -> None:
    with torch.device("meta"):
        names = Head(HeadConfig.of(TINY)).state_dict().keys()
    assert {*NAMES.values(), "layer.attention.wqkv.weight", "output.weight"} == set(names)


def test_wrong_files_are_told(tiny: Transformer, tensors: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "head.pt"

    def told(changed: Mapping[str, Tensor]) -> str:
        torch.save(dict(changed), path)
        with pytest.raises(WeightsError) as error:
            load_lantern_head(path, tiny)
        message = str(error.value)
        assert str(path) in message
        assert "\n" not in message
        return message

    assert "expected a drafting head" in told(tiny.state_dict())
    assert "missing: fc.bias" in told({name: value for name, value in tensors.items() if name != "fc.bias"})
    assert "unknown: layers.0.input_layernorm.weight" in told(
        tensors | {"layers.0.input_layernorm.weight": torch.ones(TINY.dim)}
    )
    wide = tensors | {PROJECTIONS[1]: torch.zeros(TINY.dim, TINY.dim + 1)}
    assert "expected projections of one width" in told(wide)
    assert "misshapen: fc.weight" in told(tensors | {"fc.weight": torch.zeros(TINY.dim, TINY.dim)})
    assert "finite" in told(tensors | {"fc.bias": torch.full((TINY.dim,), torch.nan)})
