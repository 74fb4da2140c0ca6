"""A bundle's backend: its modules' weights, on the GPU."""

import dataclasses
from pathlib import Path

import torch
from safetensors import SafetensorError

from mulo_sd.engines.backends.base import BackendError, one_line
from mulo_sd.engines.backends.torch_cuda.backend import TorchBackend
from mulo_sd.engines.backends.torch_cuda.stateless import transformers_of
from mulo_sd.engines.bundle import Bundle
from mulo_sd.engines.bundle.contract import (
    BLOCK,
    HEAD,
    SEMANTIC_FEATURES,
    TARGET_BRANCHED,
    TOKENIZER,
    down_sampler_graph,
    up_sampler_graph,
)
from mulo_sd.engines.bundle.manifest import MANIFEST_NAME, PassesEntry
from mulo_sd.reference.checkpoints.ta_tok import TATokConfig, TATokDecoder, load_ta_tok
from mulo_sd.reference.checkpoints.vq import load_image_tokenizer
from mulo_sd.reference.models import Models
from mulo_sd.reference.transformer import TransformerConfig
from mulo_sd.reference.weights import (
    WeightsError,
    config_of,
    load_head,
    load_latent_down_sampler,
    load_latent_up_sampler,
    load_transformer,
)

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def _ta_tok(path: Path, count: int) -> TATokDecoder:
    config = config_of(path, TATokConfig)
    decoder = load_ta_tok(path, count, config.heads)
    # The tensors do not say it, nor how many heads there are.
    decoder.config = dataclasses.replace(decoder.config, unit_codes=config.unit_codes)
    return decoder


def load_modules(bundle: Bundle) -> tuple[Models, TATokDecoder | None]:
    """Load a bundle's modules, float32 on the CPU.

    Raises:
        BackendError: the bundle holds none, or a file is none of them.
    """
    manifest, modules = bundle.manifest, bundle.manifest.modules
    needed = [*(entry.graph for entry in manifest.with_caches if entry.graph != TARGET_BRANCHED), TOKENIZER]
    needed += [SEMANTIC_FEATURES] if SEMANTIC_FEATURES in manifest.graphs else []
    missing = [name for name in needed if name not in modules]
    if missing:
        raise BackendError(
            f"{bundle.path / MANIFEST_NAME}: no weights of {', '.join(missing)}; "
            f"{bundle.rebuild('--backend', 'torch-cuda')}"
        )
    files = {name: bundle.file(entry) for name, entry in modules.items()}
    ratios = range(1, manifest.target.grid_height + 1)
    up = {ratio: files[name] for ratio in ratios if (name := up_sampler_graph(ratio, "latent")) in files}
    down = {ratio: files[name] for ratio in ratios if (name := down_sampler_graph(ratio, "latent")) in files}
    try:
        target, *drafters = (load_transformer(files[entry.graph]) for entry in manifest.models)
        models = Models(
            target,
            tuple(drafters),
            load_image_tokenizer(files[TOKENIZER]),
            {ratio: load_latent_up_sampler(path) for ratio, path in up.items()},
            {ratio: load_latent_down_sampler(path) for ratio, path in down.items()},
            None if manifest.head is None else load_head(files[HEAD], target),
            None if manifest.block is None else load_transformer(files[BLOCK]),
        )
        ta_tok = None
        if SEMANTIC_FEATURES in files:
            ta_tok = _ta_tok(files[SEMANTIC_FEATURES], manifest.target.prefix_length)
    except (WeightsError, SafetensorError, OSError, ValueError) as error:
        raise BackendError(f"{bundle.path}: its weights cannot be used: {one_line(error)}") from None
    configs = {name: model.config for name, model in transformers_of(models).items()}
    configs |= {} if models.head is None else {HEAD: models.head.config}
    for entry in manifest.with_caches:
        if entry.graph in configs and _size(configs[entry.graph]) != _size(entry):
            raise BackendError(f"{files[entry.graph]}: expected a transformer as the manifest says, got another")
    return models, ta_tok


def _size(of: TransformerConfig | PassesEntry) -> tuple[int, ...]:
    return (of.layers, of.heads, of.dim, of.vocabulary, of.prefix_length, of.grid_height)


def open_on_device(bundle: Bundle, device: str | torch.device) -> TorchBackend:
    """Return the backend of a bundle on any device, in the bundle's precision.

    Raises:
        BackendError: the bundle holds no weights, or a file is none of them.
    """
    models, ta_tok = load_modules(bundle)
    slots = {entry.graph: entry.slots for entry in bundle.manifest.with_caches}
    return TorchBackend(models, DTYPES[bundle.manifest.precision], device, slots=slots, ta_tok=ta_tok)


def open_on_gpu(bundle: Bundle) -> TorchBackend:
    """Return the backend "torch-cuda" of a bundle.

    Raises:
        BackendError: no GPU, or a bundle without weights.
    """
    if not torch.cuda.is_available():
        raise BackendError(
            "backend torch-cuda: expected an NVIDIA GPU and a torch that was built for it, found none; "
            "use --backend ort on the CPU"
        )
    return open_on_device(bundle, "cuda")
