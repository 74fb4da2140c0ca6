"""Tar's AR de-tokenizer (AR-DTok): LlamaGen's blocks with absolute positions after a prefix of image features."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch.nn.functional as F

from reference.checkpoints.files import filled, read_checkpoint, tensors_of
from reference.checkpoints.llamagen import STRAYS, size_of
from reference.transformer import Transformer, TransformerConfig
from reference.weights import WeightsError

# Tokens of the prefix: 27 x 27 features. A checkpoint's arguments say it; bare weights do not.
PREFIX_LENGTH = 729


def _argument(model: Mapping[str, Any], name: str, path: Path) -> int | None:
    """Return a number among a checkpoint's arguments, where it tells it."""
    arguments = model.get("args")
    told = arguments.get(name) if isinstance(arguments, Mapping) else None
    if told is not None and (not isinstance(told, int) or isinstance(told, bool) or told < 1):
        raise WeightsError(f"{path}: expected args.{name}, a whole number from 1 on, got {told!r:.40}")
    return told


def load_ar_dtok(
    path: Path, heads: int | None = None, semantic_ids: int | None = None, read_numbers: bool = True
) -> Transformer:
    """Load a published AR-DTok in float32; its size and its grid are read off the file.

    Args:
        path: Such as ar_dtok_lp_1024px.pth.
        heads: Of a size that is not published, where the file does not tell them.
        semantic_ids: Tokens of the prefix, where there are fewer than it takes at most: 169 or 81. Image tokens follow
            the prefix as closely then, as in the published code.
        read_numbers: Check that all are finite; without, a file in float32 is not read before it is used.

    Raises:
        WeightsError: no such file, not a checkpoint, or weights of something else.
    """
    content = read_checkpoint(path)
    wrapped = content.get("model")
    model: Mapping[str, Any] = wrapped if isinstance(wrapped, Mapping) and "sd" in wrapped else {}
    tensors = tensors_of(model or content, path, ("sd", "model", "state_dict"))
    projection, table = tensors.get("clip_proj.weight"), tensors.get("abs_pe")
    if projection is None or projection.ndim != 2 or table is None or table.ndim != 3:
        shown = ", ".join(sorted(tensors)[:3])
        raise WeightsError(f"{path}: expected an AR-DTok (clip_proj, abs_pe, layers.0, ...), got tensors {shown} ...")
    layers, heads, dim, vocabulary = size_of(tensors, path, heads or _argument(model, "n_head", path))
    prefix_length = _argument(model, "cls_token_num", path) or PREFIX_LENGTH
    used = prefix_length if semantic_ids is None else semantic_ids
    if not 1 <= used <= prefix_length:
        raise WeightsError(f"{path}: expected 1 to {prefix_length} semantic ids, got {used}")
    # The last token is never fed in plain decoding, so the published table has no entry for it.
    cells = table.shape[1] + 1 - prefix_length
    side = round(max(cells, 0) ** 0.5)
    if side < 1 or side**2 != cells:
        raise WeightsError(
            f"{path}: expected {prefix_length} prefix tokens and a square grid but for its last token in abs_pe, got "
            f"{table.shape[1]} positions"
        )
    try:
        config = TransformerConfig(
            side,
            side,
            vocabulary=vocabulary,
            layers=layers,
            heads=heads,
            dim=dim,
            prefix_length=used,
            prefix_vocabulary=1,
            condition="features",
            condition_width=projection.shape[1],
            rotary=False,
        )
    except ValueError as error:
        raise WeightsError(f"{path}: {error}") from None
    tensors["abs_pe"] = F.pad(table[0, : used + cells - 1], (0, 0, 0, 1))
    return filled(lambda: Transformer(config), tensors, path, strays=STRAYS, read_numbers=read_numbers)
