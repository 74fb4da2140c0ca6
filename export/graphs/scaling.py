"""Up-samplers, down-samplers and the token-to-image decoder as graphs."""

from collections.abc import Iterator
from itertools import combinations
from typing import get_args

import torch
from torch import Tensor, nn

from mulo_sd.engines.bundle.contract import DECODER, TOKENIZER, down_sampler_graph, up_sampler_graph
from mulo_sd.export.graphs.specification import GraphSpecification
from mulo_sd.reference.latent import LatentScaler
from mulo_sd.reference.models import Models
from mulo_sd.reference.scaling import down_sample, up_sample
from mulo_sd.reference.settings import DownSampler, UpSampler
from mulo_sd.reference.tokenizer import ImageTokenizer
from mulo_sd.reference.transformer import Transformer, TransformerConfig

# The other resize filters are there to be compared; they cost as much again to build.
UP_SAMPLERS: tuple[UpSampler, ...] = ("bicubic", "latent")
DOWN_SAMPLERS: tuple[DownSampler, ...] = ("area", "latent")
ALL_UP_SAMPLERS: tuple[UpSampler, ...] = get_args(UpSampler)
ALL_DOWN_SAMPLERS: tuple[DownSampler, ...] = get_args(DownSampler)


class UpSamplerGraph(nn.Module):
    """U_r: low_tokens Int[rows, w] -> high_tokens Int[rows * r, w * r] (SCALE-1).

    Attributes:
        by: The module that scales: the tokenizer, around a resize filter, or a latent up-sampler.
    """

    def __init__(self, by: ImageTokenizer | LatentScaler, scale_ratio: int, up_sampler: UpSampler) -> None:
        super().__init__()
        self.by, self.scale_ratio, self.up_sampler = by, scale_ratio, up_sampler

    def forward(self, low_tokens: Tensor) -> Tensor:
        """Up-sample all rows known so far."""
        if isinstance(self.by, LatentScaler):
            return self.by.tokens_from_tokens(low_tokens)
        return up_sample(self.by, low_tokens, self.scale_ratio, self.up_sampler)


class DownSamplerGraph(nn.Module):
    """D_r: high_tokens Int[rows * r, W] -> low_tokens Int[rows, W / r] (SCALE-2).

    Attributes:
        by: The module that scales: the tokenizer, around a resize filter, or a latent down-sampler.
    """

    def __init__(self, by: ImageTokenizer | LatentScaler, scale_ratio: int, down_sampler: DownSampler) -> None:
        super().__init__()
        self.by, self.scale_ratio, self.down_sampler = by, scale_ratio, down_sampler

    def forward(self, high_tokens: Tensor) -> Tensor:
        """Down-sample verified rows."""
        if isinstance(self.by, LatentScaler):
            return self.by.tokens_from_tokens(high_tokens)
        return down_sample(self.by, high_tokens, self.scale_ratio, self.down_sampler)


class DecoderGraph(nn.Module):
    """Tokens to pixels: tokens Int[H, W] -> image Float32[H * f, W * f, 3] in 0..255."""

    def __init__(self, tokenizer: ImageTokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer

    def forward(self, tokens: Tensor) -> Tensor:
        """Decode an image."""
        image = self.tokenizer.images_from_tokens(tokens[None])[0].float()
        return torch.clamp((image + 1.0) * 127.5, 0.0, 255.0).permute(1, 2, 0)


def _ratios(models: Models) -> dict[int, tuple[Transformer, Transformer]]:
    """Return every scale ratio between two models, with the finest pair that has it (high, low)."""
    pairs: dict[int, tuple[Transformer, Transformer]] = {}
    for number, draft_number in combinations(range(len(models.drafters) + 1), 2):
        pair = (models.transformer(number), models.transformer(draft_number))
        pairs.setdefault(models.scale_ratio(number, draft_number), pair)
    return pairs


def scaler_graphs(models: Models, all_filters: bool) -> Iterator[GraphSpecification]:
    """Yield U_r and D_r of every ratio, by resize filters and by the latent scalers that the models have."""
    for ratio, (high, low) in _ratios(models).items():
        for up_sampler in ALL_UP_SAMPLERS if all_filters else UP_SAMPLERS:
            if up_sampler != "latent" or ratio in models.latent_up_samplers:
                yield _up_sampler(models, ratio, up_sampler, low.config)
        for down_sampler in ALL_DOWN_SAMPLERS if all_filters else DOWN_SAMPLERS:
            if down_sampler != "latent" or ratio in models.latent_down_samplers:
                yield _down_sampler(models, ratio, down_sampler, high.config)


def _up_sampler(models: Models, ratio: int, up_sampler: UpSampler, low: TransformerConfig) -> GraphSpecification:
    is_latent = up_sampler == "latent"
    by = models.latent_up_samplers[ratio] if is_latent else models.tokenizer
    return GraphSpecification(
        name=up_sampler_graph(ratio, up_sampler),
        module=UpSamplerGraph(by, ratio, up_sampler),
        example={"low_tokens": torch.zeros(5, low.grid_width + 1, dtype=torch.long)},
        dynamic={"low_tokens": {0: "rows", 1: "columns"}},
        input_names=("low_tokens",),
        output_names=("high_tokens",),
        ranges={"rows": (1, low.grid_height, low.grid_height), "columns": (1, low.grid_width, low.grid_width)},
        kind="codes",
        compared="high_tokens",
        weights="latent" if is_latent else TOKENIZER,
    )


def _down_sampler(models: Models, ratio: int, down_sampler: DownSampler, high: TransformerConfig) -> GraphSpecification:
    is_latent = down_sampler == "latent"
    by = models.latent_down_samplers[ratio] if is_latent else models.tokenizer
    rows, columns = high.grid_height, high.grid_width
    # Traced with names for high-resolution rows and columns, of which multiples of the ratio make sense.
    return GraphSpecification(
        name=down_sampler_graph(ratio, down_sampler),
        module=DownSamplerGraph(by, ratio, down_sampler),
        example={"high_tokens": torch.zeros(3 * ratio, columns + ratio, dtype=torch.long)},
        dynamic={"high_tokens": {0: "high_rows", 1: "high_columns"}},
        input_names=("high_tokens",),
        output_names=("low_tokens",),
        ranges={"high_rows": (ratio, rows, rows), "high_columns": (ratio, columns, columns)},
        kind="codes",
        compared="low_tokens",
        weights="latent" if is_latent else TOKENIZER,
    )


def decoder_graph(models: Models) -> GraphSpecification:
    """Return the graph that makes an image of the target's tokens."""
    high = models.target.config
    return GraphSpecification(
        name=DECODER,
        module=DecoderGraph(models.tokenizer),
        example={"tokens": torch.zeros(high.grid_height, high.grid_width + 1, dtype=torch.long)},
        dynamic={"tokens": {0: "rows", 1: "columns"}},
        input_names=("tokens",),
        output_names=("image",),
        ranges={"rows": (1, high.grid_height, high.grid_height), "columns": (1, high.grid_width, high.grid_width)},
        kind="pixels",
        compared="image",
        weights=TOKENIZER,
    )
