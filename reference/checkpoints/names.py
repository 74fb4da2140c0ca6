"""Names of tensors as training code saves them: what wraps a model leaves its own name in them."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor

from mulo_sd.reference.weights import WeightsError

# torch.compile, FSDP, activation checkpointing and DeepSpeed, around a model or around any part of it.
WRAPPED = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module)\.")
# DistributedDataParallel and Lightning, around the whole model: every name begins with it.
AROUND = ("module.", "model.")
# What published inference leaves in a model's state, and no weights: caches, the causal mask, rotary tables.
LEFT_OVERS = re.compile(r"(?:layers\.\d+\.attention\.kv_cache\.[kv]_cache|causal_mask|freqs_cis)")


def bare_names(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return tensors by the names that the model itself gives them.

    Raises:
        WeightsError: two of them get the same.
    """
    renamed = _renamed(tensors, (WRAPPED.sub("", name) for name in tensors), path)
    while prefix := next((part for part in AROUND if renamed and all(name.startswith(part) for name in renamed)), None):
        renamed = _renamed(renamed, (name.removeprefix(prefix) for name in renamed), path)
    return renamed


def _renamed(tensors: Mapping[str, Tensor], names: Iterable[str], path: Path) -> dict[str, Tensor]:
    made = dict(zip(names, tensors.values(), strict=True))
    if len(made) != len(tensors):
        raise WeightsError(f"{path}: expected each tensor once, got some of them both wrapped and bare")
    return made
