"""The decoder side of TA-Tok, Tar's image tokenizer: semantic ids to the features that AR-DTok is conditioned on.

Published names and arithmetic: a projected codebook, and the blocks of a SigLIP 2 vision transformer on patches of one
code each. The encoder, which only reading images takes, is left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mulo_sd.reference.checkpoints.files import arguments_of, filled, read_checkpoint, tensors_of
from mulo_sd.reference.weights import WeightsError

NORM_EPS = 1e-6
# Parts of the file that features do not take.
UNUSED = (
    "encoder.",
    "encode_task_layer.",
    "teacher.",
    "scale_layer.",
    "bottleneck.in_linear.",
    "decoder.vision_model.head.",
)
STRAYS = ("bottleneck.regularizer.stochastic_temperature_inv",)
VISION = "decoder.vision_model"


@dataclass(frozen=True)
class TATokConfig:
    """The size of TA-Tok's decoder side; heads and whether codes have unit length do not follow from its tensors."""

    codes: int = 65536
    code_dim: int = 1536
    dim: int = 1152
    hidden: int = 3072
    layers: int = 3
    heads: int = 12
    positions: int = 256
    unit_codes: bool = True


class SelfAttention(nn.Module):
    """Multi-head attention of every token to every token."""

    def __init__(self, config: TATokConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(config.dim, config.dim) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = F.scaled_dot_product_attention(query, key, value)
        return cast(Tensor, self.out_proj(mixed.transpose(1, 2).flatten(2)))


class FeedForward(nn.Module):
    """fc2(gelu(fc1(x))), GELU by its tanh approximation."""

    def __init__(self, config: TATokConfig) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(config.dim, config.hidden), nn.Linear(config.hidden, config.dim)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.fc2(F.gelu(self.fc1(x), approximate="tanh")))


class Block(nn.Module):
    """Attention, then feed-forward, each after a norm and added to its input."""

    def __init__(self, config: TATokConfig) -> None:
        super().__init__()
        self.layer_norm1, self.self_attn = nn.LayerNorm(config.dim, NORM_EPS), SelfAttention(config)
        self.layer_norm2, self.mlp = nn.LayerNorm(config.dim, NORM_EPS), FeedForward(config)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        return cast(Tensor, x + self.mlp(self.layer_norm2(x)))


class TATokDecoder(nn.Module):
    """Semantic ids, Int[P], to features, Float[P, dim]; P is a square."""

    def __init__(self, config: TATokConfig, count: int) -> None:
        super().__init__()
        self.config, self.count = config, count
        self.bottleneck = nn.ModuleDict(
            {
                "regularizer": nn.ModuleDict(
                    {
                        "embedding": nn.Embedding(config.codes, config.code_dim),
                        "embedding_proj": nn.Linear(config.code_dim, config.code_dim),
                    }
                ),
                "out_linear": nn.Linear(config.code_dim, config.code_dim),
            }
        )
        blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.decoder = nn.ModuleDict(
            {
                "vision_model": nn.ModuleDict(
                    {
                        "embeddings": nn.ModuleDict(
                            {
                                "patch_embedding": nn.Linear(config.code_dim, config.dim),
                                "position_embedding": nn.Embedding(config.positions, config.dim),
                            }
                        ),
                        "encoder": nn.ModuleDict({"layers": blocks}),
                        "post_layernorm": nn.LayerNorm(config.dim, NORM_EPS),
                    }
                )
            }
        )
        self.decode_task_layer = nn.Sequential(
            nn.Linear(config.dim, config.dim), nn.Tanh(), nn.Linear(config.dim, config.dim)
        )

    def positions(self) -> Tensor:
        """Return the table of positions, resized to the grid of ids, Float[P, dim]."""
        table = self.get_parameter(f"{VISION}.embeddings.position_embedding.weight")
        before, after = round(len(table) ** 0.5), round(self.count**0.5)
        grid = table.float().t().reshape(1, -1, before, before)
        resized = F.interpolate(grid, (after, after), mode="bilinear", align_corners=False, antialias=True)
        return resized[0].flatten(1).t().to(table.dtype)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the features of ids."""
        return self.features(ids, self.positions())

    def features(self, ids: Tensor, positions: Tensor) -> Tensor:
        """The same with resized positions at hand: ONNX has no operator that resizes them so."""
        regularizer = self.get_submodule("bottleneck.regularizer")
        codes = regularizer.get_submodule("embedding_proj")(regularizer.get_submodule("embedding")(ids))
        if self.config.unit_codes:
            codes = F.normalize(codes.float(), dim=-1).to(codes.dtype)
        vision = self.get_submodule(VISION)
        patches = self.get_submodule("bottleneck.out_linear")(codes)
        x = (vision.get_submodule("embeddings.patch_embedding")(patches) + positions)[None]
        for block in cast(nn.ModuleList, vision.get_submodule("encoder.layers")):
            x = block(x)
        return cast(Tensor, self.decode_task_layer(vision.get_submodule("post_layernorm")(x))[0])


def _has_unit_codes(arguments: Mapping[str, Any] | None, path: Path) -> bool:
    """Return whether codes are normalised.

    The checkpoint's arguments say it; where they leave it out, the published default is False. Bare weights have no
    arguments: they are taken for the published ones, which normalise.
    """
    value: Any = arguments
    for name in ("bottleneck", "args", "regularizer", "args", "l2_normalized"):
        value = value.get(name) if isinstance(value, Mapping) else None
    if value is not None and not isinstance(value, bool):
        raise WeightsError(f"{path}: expected l2_normalized to be true or false, got {value!r:.40}")
    return arguments is None if value is None else value


def _config(arguments: Mapping[str, Any] | None, tensors: Mapping[str, Tensor], path: Path, heads: int) -> TATokConfig:
    def shape(name: str) -> tuple[int, int]:
        tensor = tensors.get(name)
        if tensor is None or tensor.ndim != 2:
            raise WeightsError(f"{path}: expected TA-Tok with a matrix {name}, got {len(tensors)} tensors without it")
        rows, columns = tensor.shape
        return rows, columns

    codes, code_dim = shape("bottleneck.regularizer.embedding.weight")
    hidden, dim = shape(f"{VISION}.encoder.layers.0.mlp.fc1.weight")
    places, _ = shape(f"{VISION}.embeddings.position_embedding.weight")
    start = f"{VISION}.encoder.layers."
    layers = len({name.removeprefix(start).split(".")[0] for name in tensors if name.startswith(start)})
    if dim % heads or round(places**0.5) ** 2 != places:
        raise WeightsError(f"{path}: expected {heads} heads and a square table of positions, got {dim} and {places}")
    return TATokConfig(codes, code_dim, dim, hidden, layers, heads, places, _has_unit_codes(arguments, path))


def load_ta_tok(path: Path, count: int, heads: int = 12, dtype: torch.dtype = torch.float32) -> TATokDecoder:
    """Load the decoder side of TA-Tok in float32.

    Args:
        path: ta_tok.pth.
        count: Semantic ids of an image, a square: 729, 169 or 81.
        heads: Of its blocks, which the file does not tell.
        dtype: The precision that the numbers must fit; they stay in float32.

    Raises:
        WeightsError: no such file, not a checkpoint, or weights of something else.
    """
    content = read_checkpoint(path)
    every = tensors_of(content, path)
    tensors = {name: value for name, value in every.items() if not name.startswith(UNUSED)}
    if round(count**0.5) ** 2 != count:
        raise WeightsError(f"{path}: expected a square number of semantic ids, got {count}")
    config = _config(arguments_of(content), tensors, path, heads)
    return filled(lambda: TATokDecoder(config, count), tensors, path, strays=STRAYS, dtype=dtype)


@torch.inference_mode()
def semantic_features(decoder: TATokDecoder, ids: Tensor) -> Tensor:
    """Return the features of semantic ids, Int[P] -> Float[P, dim]."""
    return cast(Tensor, decoder(ids))
