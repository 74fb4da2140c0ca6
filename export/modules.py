"""Weights of a bundle's modules, for the backend that runs them in torch: a safetensors file each."""

from pathlib import Path

import torch

from mulo_sd.engines.bundle.contract import HEAD, SEMANTIC_FEATURES, TOKENIZER, down_sampler_graph, up_sampler_graph
from mulo_sd.engines.bundle.entries import FileEntry
from mulo_sd.export.manifest import file_entry
from mulo_sd.reference.checkpoints.ta_tok import TATokDecoder
from mulo_sd.reference.checkpoints.vq import VQTokenizer
from mulo_sd.reference.head import Head, own_tensors
from mulo_sd.reference.models import Models
from mulo_sd.reference.tokenizer import Tokenizer
from mulo_sd.reference.transformer import Transformer
from mulo_sd.reference.weights import save_tensors, save_weights


def _file(folder: Path, name: str) -> Path:
    path = folder / "weights" / f"{name}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def write_transformer(folder: Path, name: str, model: Transformer, dtype: torch.dtype) -> FileEntry:
    """Write a transformer's weights into a bundle's folder and describe the file."""
    path = _file(folder, name)
    save_weights(model, model.config, path, dtype)
    return file_entry(folder, path)


def write_head(folder: Path, head: Head, dtype: torch.dtype) -> FileEntry:
    """Write a head's weights, those of the target left out, into a bundle's folder and describe the file."""
    path = _file(folder, HEAD)
    save_tensors(own_tensors(head), head.config, path, dtype)
    return file_entry(folder, path)


def write_other_modules(
    folder: Path, models: Models, ta_tok: TATokDecoder | None, dtype: torch.dtype
) -> dict[str, FileEntry]:
    """Write the tokenizer, the latent samplers and TA-Tok's decoder side; return their files by name.

    Raises:
        TypeError: a tokenizer of a class that nobody loads again.
    """
    if not isinstance(models.tokenizer, Tokenizer | VQTokenizer):
        raise TypeError(f"tokenizer: expected a Tokenizer or a VQTokenizer, got {type(models.tokenizer).__name__}")
    path = _file(folder, TOKENIZER)
    save_weights(models.tokenizer, models.tokenizer.config, path, dtype)
    entries = {TOKENIZER: file_entry(folder, path)}
    samplers = [(up_sampler_graph(ratio, "latent"), module) for ratio, module in models.latent_up_samplers.items()]
    down = [(down_sampler_graph(ratio, "latent"), module) for ratio, module in models.latent_down_samplers.items()]
    for name, module in (*samplers, *down):
        path = _file(folder, name)
        save_weights(module, module.config, path, dtype)
        entries[name] = file_entry(folder, path)
    if ta_tok is not None:
        path = _file(folder, SEMANTIC_FEATURES)
        save_weights(ta_tok, ta_tok.config, path, dtype)
        entries[SEMANTIC_FEATURES] = file_entry(folder, path)
    return entries
