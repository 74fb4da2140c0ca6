"""The graphs without state as functions: conditions, samplers, the decoder, and sampling on given logits."""

import copy
from collections.abc import Callable, Mapping
from itertools import combinations
from typing import TypeVar, cast, get_args

import torch
from torch import Tensor, nn

from mulo_sd.engines.backends.torch_cuda.sampling import best_tokens, log_probs
from mulo_sd.engines.bundle.contract import (
    ACCEPTANCE,
    BLOCK,
    DECODER,
    SAMPLER,
    SEMANTIC_FEATURES,
    condition_graph,
    down_sampler_graph,
    model_names,
    up_sampler_graph,
)
from mulo_sd.engines.settings import DownSampler, UpSampler
from mulo_sd.reference.checkpoints.ta_tok import TATokDecoder
from mulo_sd.reference.models import Models
from mulo_sd.reference.radius import entropy
from mulo_sd.reference.scaling import down_sample, up_sample
from mulo_sd.reference.tokenizer import ImageTokenizer
from mulo_sd.reference.transformer import Transformer

# Inputs by name, on the device, to outputs by name.
Stateless = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
Module = TypeVar("Module", bound=nn.Module)


def _placed(module: Module, dtype: torch.dtype, device: torch.device) -> Module:
    return copy.deepcopy(module).to(device, dtype).eval().requires_grad_(False)


def _condition(embed: nn.Module) -> Stateless:
    return lambda inputs: {"prefix": embed(inputs["condition"]).float()}


def _up_sampler(tokenizer: ImageTokenizer, ratio: int, name: UpSampler) -> Stateless:
    return lambda inputs: {"high_tokens": up_sample(tokenizer, inputs["low_tokens"], ratio, name)}


def _down_sampler(tokenizer: ImageTokenizer, ratio: int, name: DownSampler) -> Stateless:
    return lambda inputs: {"low_tokens": down_sample(tokenizer, inputs["high_tokens"], ratio, name)}


def _decoder(tokenizer: ImageTokenizer) -> Stateless:
    def decode(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        image = tokenizer.images_from_tokens(inputs["tokens"][None])[0].float()
        return {"image": ((image + 1.0) * 127.5).clamp(0.0, 255.0).permute(1, 2, 0)}

    return decode


def _semantic_features(decoder: TATokDecoder) -> Stateless:
    positions = decoder.positions()
    return lambda inputs: {"features": decoder.features(inputs["ids"], positions).float()}


def _log_probs(inputs: Mapping[str, Tensor]) -> Tensor:
    return log_probs(
        torch.stack([inputs["cond_logits"], inputs["uncond_logits"]]),
        float(inputs["guidance_scale"]),
        float(inputs["temperature"]),
        int(inputs["top_k"]),
        float(inputs["top_p"]),
    )


def sampler(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Sample by given noise (RNG-1)."""
    logs = _log_probs(inputs)
    return {"tokens": best_tokens(logs + inputs["noise"]), "log_probs": logs}


def acceptance(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Pool probabilities around draft tokens (POOL-1, LOCAL-3)."""
    logs = _log_probs(inputs)
    near = inputs["neighbours"][inputs["draft_tokens"]]
    pooled = logs.exp().gather(1, near).sum(dim=-1)
    return {"pooled_probs": pooled, "log_probs": logs, "entropies": entropy(logs)}


def transformers_of(models: Models) -> dict[str, Transformer]:
    """Return all transformers that take a condition, by their graphs: the models, then the block drafter if any."""
    names = model_names(len(models.drafters))
    block = {} if models.block is None else {BLOCK: models.block}
    return dict(zip(names, (models.target, *models.drafters), strict=True)) | block


def stateless_graphs(
    models: Models, ta_tok: TATokDecoder | None, dtype: torch.dtype, device: torch.device
) -> dict[str, Stateless]:
    """Return every graph of a bundle that keeps no state, by name; modules are copied to the device."""
    graphs: dict[str, Stateless] = {SAMPLER: sampler, ACCEPTANCE: acceptance}
    for name, model in transformers_of(models).items():
        embed = model.clip_proj if model.config.condition == "features" else model.cls_embedding
        graphs[condition_graph(name)] = _condition(_placed(embed, dtype, device))
    tokenizer = _placed(models.tokenizer, dtype, device)
    graphs[DECODER] = _decoder(tokenizer)
    ratios = {models.scale_ratio(*pair) for pair in combinations(range(1 + len(models.drafters)), 2)}
    for ratio in sorted(ratios):
        for up_filter in cast(tuple[UpSampler, ...], get_args(UpSampler)):
            if up_filter != "latent":
                graphs[up_sampler_graph(ratio, up_filter)] = _up_sampler(tokenizer, ratio, up_filter)
        for down_filter in cast(tuple[DownSampler, ...], get_args(DownSampler)):
            if down_filter != "latent":
                graphs[down_sampler_graph(ratio, down_filter)] = _down_sampler(tokenizer, ratio, down_filter)
        if ratio in models.latent_up_samplers:
            up = _placed(models.latent_up_samplers[ratio], dtype, device)
            graphs[up_sampler_graph(ratio, "latent")] = lambda inputs, up=up: {  # type: ignore[misc]  # bound now
                "high_tokens": up.tokens_from_tokens(inputs["low_tokens"])
            }
        if ratio in models.latent_down_samplers:
            down = _placed(models.latent_down_samplers[ratio], dtype, device)
            graphs[down_sampler_graph(ratio, "latent")] = lambda inputs, down=down: {  # type: ignore[misc]  # as above
                "low_tokens": down.tokens_from_tokens(inputs["high_tokens"])
            }
    if ta_tok is not None:
        graphs[SEMANTIC_FEATURES] = _semantic_features(_placed(ta_tok, dtype, device))
    return graphs
