"""Published models by size alone: random weights, made where they run, and a bundle in memory around them.

What a pass costs depends on sizes and not on values; what a decode costs depends on how much is accepted as well, and
that is replayed. Images are noise.
"""

import gc
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mulo_sd.conformance.bench.errors import BenchError
from mulo_sd.conformance.bench.in_memory import bundle_of
from mulo_sd.engines.backends.base import Backend
from mulo_sd.engines.bundle import Bundle
from mulo_sd.engines.bundle.contract import (
    ACCEPTANCE,
    DECODER,
    SAMPLER,
    Precision,
    condition_graph,
    down_sampler_graph,
    model_names,
    slot_count,
    up_sampler_graph,
)
from mulo_sd.engines.service.pipeline import Pipeline
from mulo_sd.reference.checkpoints.vq import VQ_16, VQConfig, VQTokenizer
from mulo_sd.reference.models import Models
from mulo_sd.reference.transformer import Transformer, TransformerConfig

Module = TypeVar("Module", bound=nn.Module)

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
MAX_NEIGHBOURS = 16
# Of the logits: sampling that keeps a few codes of many, as trained models' does.
LOGIT_DEVIATION = 3.0


@dataclass(frozen=True)
class Shape:
    """Models by their sizes, the target first, each on a coarser grid than the one before.

    Attributes:
        name: For --shape.
        label: In words.
        models: Sizes.
        tokenizer: Its size.
        settings: Of a decode, beside the schedule's defaults: as the published code samples.
    """

    name: str
    label: str
    models: tuple[TransformerConfig, ...]
    tokenizer: VQConfig = VQ_16
    settings: Mapping[str, Any] = field(default_factory=dict)


def _llamagen_xl(side: int) -> TransformerConfig:
    return TransformerConfig(
        *(side, side, 16384),
        layers=36,
        heads=20,
        dim=1280,
        prefix_length=120,
        prefix_vocabulary=1,
        condition="caption",
        condition_width=2048,
        zero_prefix_rotation=True,
        absolute=False,
    )


def _tar_lp(side: int) -> TransformerConfig:
    return TransformerConfig(
        *(side, side, 16384),
        layers=30,
        heads=20,
        dim=1280,
        prefix_length=729,
        prefix_vocabulary=1,
        condition="features",
        condition_width=1152,
        rotary=False,
    )


_CAPTION = {"guidance_scale": 7.5, "top_k": 1000}
_FEATURES = {"guidance_scale": 4.0, "top_k": 0}
SHAPES: dict[str, Shape] = {
    shape.name: shape
    for shape in (
        Shape("llamagen-xl-512", "LlamaGen XL, 512 px", (_llamagen_xl(32), _llamagen_xl(16)), settings=_CAPTION),
        # Nobody has published a model of 8 x 8 tokens to draft for it: AR and ZipAR alone.
        Shape("llamagen-xl-256", "LlamaGen XL, 256 px", (_llamagen_xl(16),), settings=_CAPTION),
        Shape("tar-lp-1024", "Tar AR-DTok LP, 1024 px", (_tar_lp(64), _tar_lp(32), _tar_lp(16)), settings=_FEATURES),
        Shape("tar-lp-512", "Tar AR-DTok LP, 512 px", (_tar_lp(32), _tar_lp(16)), settings=_FEATURES),
        Shape("tar-lp-256", "Tar AR-DTok LP, 256 px", (_tar_lp(16),), settings=_FEATURES),
    )
}


def shape_of(name: str) -> Shape:
    """Return a shape by name.

    Raises:
        BenchError: there is none.
    """
    if name not in SHAPES:
        raise BenchError(f"--shape: expected some of {', '.join(SHAPES)}, got {name!r}")
    return SHAPES[name]


def check_device(device: str) -> None:
    """Check that PyTorch can use a device.

    Raises:
        BenchError: it cannot.
    """
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise BenchError(f"--device: PyTorch cannot use {device!r} here: {str(error).splitlines()[0]}") from None


def synchroniser(device: str) -> Callable[[], None]:
    """Return what waits until a device has done all its work."""
    if torch.device(device).type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    return lambda: None


def _scale(name: str, parameter: Tensor) -> float:
    """Return the standard deviation of a weight that keeps the size of what it is multiplied with."""
    if "embed" in name or name.endswith(("abs_pe", "codebook")):
        return 1.0
    if parameter.ndim < 2:
        return 0.1
    return float(1.0 / parameter[0].numel() ** 0.5)


def _made(make: Callable[[], Module], generator: torch.Generator, device: str, dtype: torch.dtype) -> Module:
    """Make a module on its device, without ever holding it elsewhere or in another precision."""
    with torch.device("meta"):
        module = make()
    module = module.to(dtype).to_empty(device=device).eval().requires_grad_(False)
    for name, parameter in [*module.named_parameters(), *module.named_buffers()]:
        centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        deviation = LOGIT_DEVIATION / parameter.shape[1] ** 0.5 if name == "output.weight" else _scale(name, parameter)
        parameter.data.normal_(centre, deviation, generator=generator)
    return module


def shape_models(shape: Shape, device: str, dtype: torch.dtype, seed: int = 0) -> Models:
    """Return models of a shape with random weights on a device; the tokenizer is in float32, as it is published.

    Args:
        shape: Sizes.
        device: As PyTorch names it.
        dtype: Of the transformers.
        seed: The only source of randomness.
    """
    generator = torch.Generator(device).manual_seed(seed)
    transformers = []
    for config in shape.models:
        model = _made(lambda config=config: Transformer(config), generator, device, dtype)  # type: ignore[misc]
        model.make_rotary_table()
        model.cos, model.sin = model.cos.to(device), model.sin.to(device)
        transformers.append(model)
    tokenizer = _made(lambda: VQTokenizer(shape.tokenizer), generator, device, torch.float32)
    return Models(transformers[0], tuple(transformers[1:]), tokenizer)


def _nearest(codebook: Tensor, count: int) -> Tensor:
    """Return each code's nearest codes, itself first, Int[V, count]; in pieces, for all distances would fill a GPU."""
    neighbours = []
    for start in range(0, len(codebook), 1024):
        distances = torch.cdist(codebook[start : start + 1024], codebook)
        distances[torch.arange(len(distances)), torch.arange(start, start + len(distances))] = -1.0
        neighbours.append(distances.topk(count, largest=False).indices)
    return torch.cat(neighbours)


def shape_bundle(shape: Shape, models: Models, precision: Precision) -> Bundle:
    """Return a bundle that holds the sizes of models, their codes and their null conditions; it has no files.

    Args:
        shape: Of which they are.
        models: With random weights.
        precision: "fp32", "fp16" or "bf16".
    """
    names = model_names(len(models.drafters))
    sides = [config.grid_height for config in shape.models]
    ratios = {high // low for index, high in enumerate(sides) for low in sides[index + 1 :]}
    graphs = [DECODER, SAMPLER, ACCEPTANCE, *(condition_graph(name) for name in names)]
    graphs += [
        make(ratio, kind)
        for ratio in ratios
        for make, kind in ((up_sampler_graph, "bicubic"), (down_sampler_graph, "area"))
    ]
    near = min(MAX_NEIGHBOURS, len(models.tokenizer.codebook))
    chain = {"drafters": tuple(range(1, len(shape.models)))} if len(shape.models) > 1 else {"mode": "ar"}
    return bundle_of(
        models,
        "tar" if shape.models[0].condition == "features" else "llamagen",
        precision,
        {name: slot_count(config) for name, config in zip(names, shape.models, strict=True)},
        graphs,
        lambda codebook: _nearest(codebook, near),
        shape.name,
        # Guesses of random weights never come true: one token a pass wherever cells are decided in raster order.
        {"mode": "parallel", "neighbours": near, "sweep_width": 1, **shape.settings, **chain},
    )


def torch_backend_class() -> Callable[..., Backend]:
    """Return the PyTorch backend: made of (models, dtype, device), with `slots` by graph and `kernels`.

    Raises:
        BenchError: it cannot be loaded here.
    """
    try:
        module = importlib.import_module("mulo_sd.engines.backends.torch_cuda.backend")
    except ImportError as error:
        raise BenchError(f"--shape: the PyTorch backend cannot be loaded here: {error}") from None
    made: Callable[..., Backend] = module.TorchBackend
    return made


def make_shape_pipeline(
    shape: Shape, device: str, precision: Precision, kernels: str, seed: int = 0
) -> tuple[Pipeline, Models]:
    """Make random models of a shape on a device and a pipeline over them.

    Args:
        shape: Sizes.
        device: As PyTorch names it.
        precision: "fp32", "fp16" or "bf16".
        kernels: "triton" or "torch".
        seed: Of the weights.

    Raises:
        BenchError: the backend cannot be loaded.
        OutOfMemoryError: the device has not enough memory (`is_out_of_memory`).
    """
    make_backend, dtype = torch_backend_class(), DTYPES[precision]
    models = shape_models(shape, device, dtype, seed)
    bundle = shape_bundle(shape, models, precision)
    slots = {entry.graph: entry.slots for entry in bundle.manifest.models}
    return Pipeline(bundle, make_backend(models, dtype, device, slots=slots, kernels=kernels)), models


def device_peak_bytes(device: str) -> float | None:
    """Return the most memory that PyTorch held on a device since `forget_peak`; None where it keeps no account."""
    if torch.device(device).type != "cuda":
        return None
    return float(torch.cuda.max_memory_allocated(device))


def forget_peak(device: str) -> None:
    """Start a new account of a device's memory."""
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def release(device: str) -> None:
    """Give a device's memory back, once the models before are gone."""
    gc.collect()
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that a device's memory is full."""
    return isinstance(error, torch.OutOfMemoryError)
