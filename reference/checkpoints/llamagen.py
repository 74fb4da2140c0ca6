"""LlamaGen's transformers, c2i (one class) and t2i (a caption), under the published key names."""

import re
from pathlib import Path

import torch
from torch import Tensor

from mulo_sd.reference.checkpoints.files import filled, read_checkpoint, tensors_of
from mulo_sd.reference.transformer import Transformer, TransformerConfig
from mulo_sd.reference.weights import WeightsError

# Heads by (layers, dim) of every published size, LlamaGen's B, L, XL, XXL and 3B, AR-DTok's S and LP: shapes do not
# tell them.
HEADS = {
    (12, 384): 6,
    (12, 768): 12,
    (24, 1024): 16,
    (30, 1280): 20,
    (36, 1280): 20,
    (48, 1536): 24,
    (24, 3200): 32,
}
LAYER = re.compile(r"layers\.(\d+)\.")


def layers_of(tensors: dict[str, Tensor]) -> int:
    """Return how many layers a checkpoint's names speak of; 0 where it is none of a transformer."""
    numbers = [int(match[1]) for name in tensors if (match := LAYER.match(name)) and len(match[1]) <= 3]
    return max(numbers, default=-1) + 1


def size_of(tensors: dict[str, Tensor], path: Path, heads: int | None) -> tuple[int, int, int, int]:
    """Return layers, heads, dim and vocabulary of a checkpoint.

    Raises:
        WeightsError: it holds no transformer, or one of no published size and `heads` is None.
    """
    embeddings = tensors.get("tok_embeddings.weight")
    layers = layers_of(tensors)
    if embeddings is None or embeddings.ndim != 2 or not layers:
        shown = ", ".join(sorted(tensors)[:3])
        raise WeightsError(f"{path}: expected a transformer (tok_embeddings, layers.0, ...), got tensors {shown} ...")
    vocabulary, dim = embeddings.shape
    size = HEADS.get((layers, dim)) if heads is None else heads
    if size is None:
        sizes = ", ".join(f"{layers} x {dim}" for layers, dim in HEADS)
        raise WeightsError(f"{path}: expected layers x width of a published size ({sizes}), got {layers} x {dim}")
    return layers, size, dim, vocabulary


def _config(tensors: dict[str, Tensor], path: Path, grid_side: int, heads: int | None) -> TransformerConfig:
    layers, heads, dim, vocabulary = size_of(tensors, path, heads)
    captions, table = tensors.get("cls_embedding.uncond_embedding"), tensors.get("cls_embedding.embedding_table.weight")
    prefix = captions if captions is not None else table
    if prefix is None or prefix.ndim != 2:
        raise WeightsError(
            f"{path}: expected a table cls_embedding.uncond_embedding (t2i) or .embedding_table (c2i), got "
            f"{'none' if prefix is None else list(prefix.shape)}"
        )
    is_caption = captions is not None
    return TransformerConfig(
        grid_side,
        grid_side,
        vocabulary=vocabulary,
        layers=layers,
        heads=heads,
        dim=dim,
        prefix_length=len(prefix) if is_caption else 1,
        prefix_vocabulary=1 if is_caption else len(prefix),
        condition="caption" if is_caption else "class",
        condition_width=prefix.shape[1] if is_caption else 0,
        zero_prefix_rotation=True,
        absolute=False,
    )


def load_llamagen(
    path: Path, grid_side: int, heads: int | None = None, dtype: torch.dtype | None = torch.float32
) -> Transformer:
    """Load a published LlamaGen transformer in float32; its size and kind are read off its tensors.

    Args:
        path: Such as t2i_XL_stage2_512.pt or c2i_L_384.pt.
        grid_side: Rows and columns of tokens; the file does not tell them.
        heads: Of a size that is not published.
        dtype: The precision that the numbers must fit; they stay in float32. None leaves them unread, so that a file in
            float32 takes no memory before it is used.

    Raises:
        WeightsError: no such file, not a checkpoint, or weights of something else.
    """
    tensors = tensors_of(read_checkpoint(path), path)
    try:
        config = _config(tensors, path, grid_side, heads)
    except ValueError as error:
        raise WeightsError(str(error) if str(path) in str(error) else f"{path}: {error}") from None
    return filled(lambda: Transformer(config), tensors, path, dtype=dtype)
