"""LANTERN's drafting heads for LlamaGen, under the published key names.

A head is a layer of transformers' Llama without the norm before its attention, with LlamaGen's rotary positions; its
file holds embeddings of its own and takes the target's output matrix (read in the published code).
"""

from pathlib import Path

import torch
from torch import Tensor

from mulo_sd.reference.checkpoints.files import filled, read_checkpoint, tensors_of
from mulo_sd.reference.head import Head, HeadConfig
from mulo_sd.reference.transformer import Transformer
from mulo_sd.reference.weights import WeightsError, shapes_of

# Ours by theirs; the three projections of attention are one matrix here.
NAMES = {
    "embed_tokens.weight": "tok_embeddings.weight",
    "fc.weight": "fc.weight",
    "fc.bias": "fc.bias",
    "layers.0.self_attn.o_proj.weight": "layer.attention.wo.weight",
    "layers.0.mlp.gate_proj.weight": "layer.feed_forward.w1.weight",
    "layers.0.mlp.up_proj.weight": "layer.feed_forward.w3.weight",
    "layers.0.mlp.down_proj.weight": "layer.feed_forward.w2.weight",
    "layers.0.post_attention_layernorm.weight": "layer.ffn_norm.weight",
}
PROJECTIONS = tuple(f"layers.0.self_attn.{name}_proj.weight" for name in "qkv")
NORM_EPS = 1e-6


def published_shapes(config: HeadConfig) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a published head's tensors by its names: what its file holds for such a target."""
    ours = shapes_of(lambda: Head(config))
    width = ours["layer.attention.wqkv.weight"][1]
    return {name: ours[own] for name, own in NAMES.items()} | dict.fromkeys(PROJECTIONS, (width, width))


def _renamed(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return a head's tensors by our names.

    Raises:
        WeightsError: it is no head's, or the projections do not go together.
    """
    missing = sorted((NAMES.keys() | set(PROJECTIONS)) - tensors.keys())
    if "fc.weight" in missing or len(missing) > 1 + len(PROJECTIONS):
        shown = ", ".join(sorted(tensors)[:3])
        raise WeightsError(f"{path}: expected a drafting head (fc, layers.0, embed_tokens), got tensors {shown} ...")
    if missing:
        raise WeightsError(f"{path}: its tensors do not fit: missing: {', '.join(missing)}")
    projections = [tensors[name] for name in PROJECTIONS]
    if any(part.ndim != 2 or part.shape[1] != projections[0].shape[-1] for part in projections):
        shapes = ", ".join(str(list(part.shape)) for part in projections)
        raise WeightsError(f"{path}: expected projections of one width, got {shapes}")
    rest = {name: value for name, value in tensors.items() if name not in PROJECTIONS}
    return {NAMES.get(name, name): value for name, value in rest.items()} | {
        "layer.attention.wqkv.weight": torch.cat(projections)
    }


def load_lantern_head(path: Path, target: Transformer, dtype: torch.dtype | None = torch.float32) -> Head:
    """Load a published head for LlamaGen in float32.

    Args:
        path: The file, or the folder that training saved.
        target: The transformer that it drafts for.
        dtype: The precision that the numbers must fit; they stay in float32. None leaves them unread.

    Raises:
        WeightsError: no such file, not a checkpoint, weights of something else, or of another target's head.
    """
    tensors = _renamed(tensors_of(read_checkpoint(path), path), path)
    config = HeadConfig.of(target.config, NORM_EPS)
    shared = {"output.weight": target.output.weight.detach()}
    return filled(lambda: Head(config), shared | tensors, path, dtype=dtype)
