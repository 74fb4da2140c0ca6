"""Starting from the weights of another model: of another grid, or a published one with another kind of condition."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from mulo_sd.reference.transformer import Transformer, TransformerConfig

# What the layers of two models must have in common, so that the weights of one mean the same in the other.
SAME_LAYERS = ("dim", "layers", "heads", "vocabulary", "rotary", "rope_base", "zero_prefix_rotation")
SAME_CONDITION = ("condition", "condition_width", "prefix_length", "prefix_vocabulary")
OF_THE_CONDITION = ("cls_embedding.", "clip_proj.")


def config_like(other: TransformerConfig, grid: int, prefix_length: int, prefix_vocabulary: int) -> TransformerConfig:
    """Return the configuration of a model that starts from the weights of another one.

    Args:
        other: The other one's, a published one's for instance; its size and its kind of positions stay.
        grid: Rows and columns of tokens.
        prefix_length: Tokens of a condition, which is rows of ids ("fields").
        prefix_vocabulary: How many ids it may hold.
    """
    return replace(
        other,
        grid_height=grid,
        grid_width=grid,
        prefix_length=prefix_length,
        prefix_vocabulary=prefix_vocabulary,
        condition="fields",
        condition_width=0,
    )


def warm_tensors(model: Transformer, other: Transformer) -> dict[str, Tensor]:
    """Return the tensors of a model with those of another in their places, as far as they mean the same.

    Token embeddings, layers, norm and output are the other's. So is the condition's table where both take the same
    conditions. Learned positions of the grid are resized; those of the prefix go with the condition.

    Args:
        model: What starts, with random weights.
        other: What it starts from.

    Raises:
        ValueError: the layers do not fit.
    """
    ours, theirs = model.config, other.config
    expected, got = (
        {name: getattr(config, name) for name in SAME_LAYERS if getattr(ours, name) != getattr(theirs, name)}
        for config in (ours, theirs)
    )
    if expected:
        shown, found = (", ".join(f"{name} {value}" for name, value in values.items()) for values in (expected, got))
        raise ValueError(f"warm start: expected weights of a model of {shown}, got one of {found}")
    tensors = model.state_dict()
    takes_condition = all(getattr(ours, name) == getattr(theirs, name) for name in SAME_CONDITION)
    tensors |= {
        name: value
        for name, value in other.state_dict().items()
        if name != "abs_pe" and (takes_condition or not name.startswith(OF_THE_CONDITION))
    }
    if model.abs_pe is not None and other.abs_pe is not None:
        prefix = other.abs_pe[: theirs.prefix_length] if takes_condition else model.abs_pe[: ours.prefix_length]
        coarse = other.abs_pe[theirs.prefix_length :].t().reshape(1, -1, theirs.grid_height, theirs.grid_width)
        fine = F.interpolate(coarse, (ours.grid_height, ours.grid_width), mode="bilinear", align_corners=False)
        tensors["abs_pe"] = torch.cat([prefix.to(fine.device), fine[0].flatten(1).t()]).detach()
    return tensors
