"""Tar's AR de-tokenizer (AR-DTok): LlamaGen's blocks with absolute positions after a prefix of image features."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from mulo_sd.reference.checkpoints.files import arguments_of, filled, read_checkpoint, tensors_of
from mulo_sd.reference.checkpoints.llamagen import size_of
from mulo_sd.reference.transformer import Transformer, TransformerConfig
from mulo_sd.reference.weights import WeightsError

# Tokens of the prefix: 27 x 27 features. A checkpoint's arguments say it; bare weights do not.
PREFIX_LENGTH = 729
# What the published model takes where its arguments do not say it.
USUAL_PREFIX_LENGTH = 1


def _argument(arguments: Mapping[str, Any], name: str, path: Path) -> int | None:
    """Return a number of a checkpoint's arguments, None where they lack it."""
    value = arguments.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise WeightsError(f"{path}: expected args.{name}, a whole number from 1 on, got {value!r:.40}")
    return value


def load_ar_dtok(
    path: Path, heads: int | None = None, semantic_ids: int | None = None, dtype: torch.dtype | None = torch.float32
) -> Transformer:
    """Load a published AR-DTok in float32; its size and its grid are read off the file.

    Args:
        path: Such as ar_dtok_lp_1024px.pth.
        heads: Of a size that is not published, where the file does not tell them.
        semantic_ids: Tokens of the prefix, where there are fewer than it takes at most: 169 or 81. Image tokens follow
            the prefix as closely then, as in the published code.
        dtype: The precision that the numbers must fit; they stay in float32. None leaves them unread, so that a file in
            float32 takes no memory before it is used.

    Raises:
        WeightsError: no such file, not a checkpoint, or weights of something else.
    """
    content = read_checkpoint(path)
    arguments, tensors = arguments_of(content), tensors_of(content, path)
    projection, table = tensors.get("clip_proj.weight"), tensors.get("abs_pe")
    if projection is None or projection.ndim != 2 or table is None or table.ndim != 3:
        shown = ", ".join(sorted(tensors)[:3])
        raise WeightsError(f"{path}: expected an AR-DTok (clip_proj, abs_pe, layers.0, ...), got tensors {shown} ...")
    layers, heads, dim, vocabulary = size_of(tensors, path, heads or _argument(arguments or {}, "n_head", path))
    if arguments is None:
        prefix_length = PREFIX_LENGTH
    else:
        prefix_length = _argument(arguments, "cls_token_num", path) or USUAL_PREFIX_LENGTH
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
    return filled(lambda: Transformer(config), tensors, path, dtype=dtype)
