"""What a bundle's graphs are: module, names, dynamic ranges, and the kind of answer that they give."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from mulo_sd.engines.bundle.manifest import SEMANTIC_FEATURES, down_sampler_graph, up_sampler_graph
from mulo_sd.export.graphs.sampling import MAX_RANKED, AcceptanceGraph, SamplerGraph
from mulo_sd.export.graphs.scaling import DecoderGraph, DownSamplerGraph, UpSamplerGraph
from mulo_sd.export.graphs.semantic import SemanticFeaturesGraph
from mulo_sd.export.graphs.transformer import ConditionGraph, TransformerGraph, cache_head_dim
from mulo_sd.reference.checkpoints.ta_tok import TATokDecoder
from mulo_sd.reference.models import Models
from mulo_sd.reference.settings import DownSampler, UpSampler
from mulo_sd.reference.transformer import Transformer

Range = tuple[int, int, int]  # smallest, usual, largest
Kind = Literal["logits", "embeddings", "features", "pixels", "codes", "probabilities"]

# Guidance feeds two rows, conditional and unconditional.
BATCH: Range = (1, 2, 2)
# What a plan is built for, beyond one token: steps of several islands and short windows, and decodes that share passes.
FEW_TOKENS = 32
SHARED_BATCH: Range = (1, 8, 16)
SHARED_TOKENS = 8
# Slots beyond the sequence, for tokens that are fed again before the cache is compacted.
SPARE_SLOTS = 256
# The other resize filters are there to be compared; they cost as much again to build.
UP_SAMPLERS: tuple[UpSampler, ...] = ("bicubic", "latent")
DOWN_SAMPLERS: tuple[DownSampler, ...] = ("area", "latent")
ALL_UP_SAMPLERS: tuple[UpSampler, ...] = get_args(UpSampler)
ALL_DOWN_SAMPLERS: tuple[DownSampler, ...] = get_args(DownSampler)


@dataclass(frozen=True)
class GraphSpecification:
    """One graph to be.

    Attributes:
        name: In the bundle.
        module: In float32; the builder casts it to the bundle's precision.
        example: Arguments of `forward` to trace with; a list of tensors is one argument.
        dynamic: Dynamic axes by argument.
        input_names: Flat names.
        output_names: Flat names.
        ranges: Range of every dynamic dimension.
        kind: What the compared output is, which decides the tolerance.
        compared: The output that is compared with the reference.
        weights: Whose weights the graph has: graphs that share them share a file, where they are large.
        profiles: What plans are built for: ranges as above, of which the first that holds the shapes is taken; none
            are the graph's own ranges.
    """

    name: str
    module: nn.Module
    example: Mapping[str, Any]
    dynamic: Mapping[str, Mapping[int, str]]
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    ranges: Mapping[str, Range]
    kind: Kind
    compared: str
    weights: str = "sampling"
    profiles: tuple[Mapping[str, Range], ...] = ()

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Run the module in torch on flat inputs; return its outputs by name."""
        arguments: dict[str, Any] = {}
        for name, value in self.example.items():
            if isinstance(value, list):
                arguments[name] = [inputs[flat] for flat in self.input_names if flat not in self.example]
            else:
                arguments[name] = inputs[name]
        with torch.inference_mode():
            outputs = self.module(**arguments)
        listed = outputs if isinstance(outputs, tuple) else (outputs,)
        return dict(zip(self.output_names, listed, strict=True))


def slot_count(model: Transformer) -> int:
    """Return how many slots a transformer's cache has."""
    config = model.config
    return config.sequence_length + min(SPARE_SLOTS, config.grid_height * config.grid_width)


def _transformer_profiles(ranges: Mapping[str, Range], longest: int) -> tuple[Mapping[str, Range], ...]:
    """Return the shapes of a decode's passes: one token, few, many (prefill, verification), and several decodes'."""
    few = min(FEW_TOKENS, longest)
    return (
        {**ranges, "fed": (1, 1, 1)},
        {**ranges, "fed": (1, min(8, few), few)},
        {**ranges, "fed": (1, max(longest // 4, 1), longest)},
        {**ranges, "batch": SHARED_BATCH, "fed": (1, 1, min(SHARED_TOKENS, longest))},
    )


def _row_profiles(ranges: Mapping[str, Range], codes: int) -> tuple[Mapping[str, Range], ...]:
    """Return the profiles of a graph over rows: one, few, and a whole grid.

    Of a searched threshold there is one profile, with one usual row: TensorRT for RTX looks for minutes for kernels of
    hundreds (docs/decisions.md).
    """
    cells = ranges["rows"][-1]
    if codes > MAX_RANKED:
        return ()
    few = min(FEW_TOKENS, cells)
    return (
        {**ranges, "rows": (1, 1, 1)},
        {**ranges, "rows": (1, min(8, few), few)},
        {**ranges, "rows": (1, max(cells // 4, 1), cells)},
    )


def _transformer(name: str, model: Transformer, dtype: torch.dtype) -> GraphSpecification:
    config, slots = model.config, slot_count(model)
    batch, fed = 2, 3
    caches = [
        torch.zeros(batch, config.heads, slots, cache_head_dim(model), dtype=dtype) for _ in range(2 * config.layers)
    ]
    cache_names = [f"{part}_{layer}" for layer in range(config.layers) for part in ("key", "value")]
    both = {0: "batch", 1: "fed"}
    # A runtime may attend over the slots that are filled, and no more.
    ranges: dict[str, Range] = {"batch": BATCH, "fed": (1, 1, config.sequence_length), "slots": (1, slots, slots)}
    return GraphSpecification(
        name=name,
        module=TransformerGraph(model),
        example={
            "tokens": torch.zeros(batch, fed, dtype=torch.long),
            "prefix": torch.zeros(batch, fed, config.dim),
            "positions": torch.zeros(batch, fed, dtype=torch.long),
            "slot_ranks": torch.zeros(batch, slots, dtype=torch.long),
            "write_index": torch.zeros(batch, dtype=torch.long),
            "caches": caches,
        },
        dynamic={
            "tokens": both,
            "prefix": both,
            "positions": both,
            "slot_ranks": {0: "batch", 1: "slots"},
            "write_index": {0: "batch"},
            "caches": {0: "batch", 2: "slots"},
        },
        input_names=("tokens", "prefix", "positions", "slot_ranks", "write_index", *cache_names),
        output_names=("logits", *(f"new_{cache}" for cache in cache_names)),
        ranges=ranges,
        kind="logits",
        compared="logits",
        weights=name,
        profiles=_transformer_profiles(ranges, config.sequence_length),
    )


def example_condition(model: Transformer, fields: int) -> Tensor:
    """Return a condition of the model's shape and type, of nothing, [P, fields or width]."""
    config = model.config
    if config.condition_width:
        return torch.zeros(config.prefix_length, config.condition_width)
    return torch.zeros(config.prefix_length, 1 if config.condition == "class" else fields, dtype=torch.long)


def _condition(name: str, model: Transformer, fields: int) -> GraphSpecification:
    return GraphSpecification(
        name=name,
        module=ConditionGraph(model),
        example={"condition": example_condition(model, fields)[None].repeat(2, 1, 1)},
        dynamic={"condition": {0: "batch"}},
        input_names=("condition",),
        output_names=("prefix",),
        ranges={"batch": BATCH},
        kind="embeddings",
        compared="prefix",
        weights=name.removesuffix("_condition"),
    )


def _ratios(models: Models) -> dict[int, tuple[Transformer, Transformer]]:
    """Return every scale ratio between two models, with the finest pair that has it (high, low)."""
    pairs: dict[int, tuple[Transformer, Transformer]] = {}
    for number, draft_number in combinations(range(len(models.drafters) + 1), 2):
        pair = (models.transformer(number), models.transformer(draft_number))
        pairs.setdefault(models.scale_ratio(number, draft_number), pair)
    return pairs


def _samplers(models: Models, all_filters: bool) -> list[GraphSpecification]:
    """Return U_r and D_r of every ratio, by resize filters and by the latent ones that are there."""
    found = []
    for ratio, (high, low) in _ratios(models).items():
        rows, columns = low.config.grid_height, low.config.grid_width
        for up_sampler in ALL_UP_SAMPLERS if all_filters else UP_SAMPLERS:
            if up_sampler == "latent" and ratio not in models.latent_up_samplers:
                continue
            found.append(
                GraphSpecification(
                    name=up_sampler_graph(ratio, up_sampler),
                    module=UpSamplerGraph(
                        models.latent_up_samplers[ratio] if up_sampler == "latent" else models.tokenizer,
                        ratio,
                        up_sampler,
                    ),
                    example={"low_tokens": torch.zeros(5, columns + 1, dtype=torch.long)},
                    dynamic={"low_tokens": {0: "rows", 1: "columns"}},
                    input_names=("low_tokens",),
                    output_names=("high_tokens",),
                    ranges={"rows": (1, rows, rows), "columns": (1, columns, columns)},
                    kind="codes",
                    compared="high_tokens",
                    weights="latent" if up_sampler == "latent" else "tokenizer",
                )
            )
        rows, columns = high.config.grid_height, high.config.grid_width
        for down_sampler in ALL_DOWN_SAMPLERS if all_filters else DOWN_SAMPLERS:
            if down_sampler == "latent" and ratio not in models.latent_down_samplers:
                continue
            # Traced with names for high-resolution rows and columns, of which multiples of the ratio make sense.
            found.append(
                GraphSpecification(
                    name=down_sampler_graph(ratio, down_sampler),
                    module=DownSamplerGraph(
                        models.latent_down_samplers[ratio] if down_sampler == "latent" else models.tokenizer,
                        ratio,
                        down_sampler,
                    ),
                    example={"high_tokens": torch.zeros(3 * ratio, columns + ratio, dtype=torch.long)},
                    dynamic={"high_tokens": {0: "high_rows", 1: "high_columns"}},
                    input_names=("high_tokens",),
                    output_names=("low_tokens",),
                    ranges={"high_rows": (ratio, rows, rows), "high_columns": (ratio, columns, columns)},
                    kind="codes",
                    compared="low_tokens",
                    weights="latent" if down_sampler == "latent" else "tokenizer",
                )
            )
    return found


def _decoder(models: Models) -> GraphSpecification:
    high = models.target.config
    return GraphSpecification(
        name="decoder",
        module=DecoderGraph(models.tokenizer),
        example={"tokens": torch.zeros(high.grid_height, high.grid_width + 1, dtype=torch.long)},
        dynamic={"tokens": {0: "rows", 1: "columns"}},
        input_names=("tokens",),
        output_names=("image",),
        ranges={"rows": (1, high.grid_height, high.grid_height), "columns": (1, high.grid_width, high.grid_width)},
        kind="pixels",
        compared="image",
        weights="tokenizer",
    )


def _sampling(models: Models) -> list[GraphSpecification]:
    codes, cells = models.target.config.vocabulary, models.target.config.grid_height * models.target.config.grid_width
    rows, by_row = 3, {0: "rows"}
    sampler_ranges: dict[str, Range] = {"rows": (1, 1, cells)}  # a step of many islands samples many cells at once
    usual_rows = cells // 4 if codes <= MAX_RANKED else 1
    acceptance_ranges: dict[str, Range] = {"rows": (1, usual_rows, cells), "near": (1, 16, min(codes, 64))}
    logits = {"cond_logits": torch.zeros(rows, codes), "uncond_logits": torch.zeros(rows, codes)}
    settings = {
        "guidance_scale": torch.tensor(1.0),
        "temperature": torch.tensor(1.0),
        "top_k": torch.tensor(0),
        "top_p": torch.tensor(1.0),
    }
    sampler = {**logits, "noise": torch.zeros(rows, codes), **settings}
    acceptance = {
        **logits,
        **settings,
        "draft_tokens": torch.zeros(rows, dtype=torch.long),
        "neighbours": torch.zeros(codes, 4, dtype=torch.long),
    }
    shared = {"cond_logits": by_row, "uncond_logits": by_row}
    return [
        GraphSpecification(
            name="sampler",
            module=SamplerGraph(),
            example=sampler,
            dynamic={**shared, "noise": by_row},
            input_names=tuple(sampler),
            output_names=("tokens", "log_probs"),
            ranges=sampler_ranges,
            kind="probabilities",
            compared="log_probs",
            profiles=_row_profiles(sampler_ranges, codes),
        ),
        GraphSpecification(
            name="acceptance",
            module=AcceptanceGraph(),
            example=acceptance,
            dynamic={**shared, "draft_tokens": by_row, "neighbours": {1: "near"}},
            input_names=tuple(acceptance),
            output_names=("pooled_probs", "log_probs", "entropies"),
            ranges=acceptance_ranges,
            kind="probabilities",
            compared="pooled_probs",
            profiles=_row_profiles(acceptance_ranges, codes),
        ),
    ]


def _semantic_features(decoder: TATokDecoder) -> GraphSpecification:
    return GraphSpecification(
        name=SEMANTIC_FEATURES,
        module=SemanticFeaturesGraph(decoder),
        example={"ids": torch.zeros(decoder.count, dtype=torch.long)},
        dynamic={},
        input_names=("ids",),
        output_names=("features",),
        ranges={},
        kind="features",
        compared="features",
        weights="ta_tok",
    )


def specifications(
    models: Models,
    dtype: torch.dtype,
    fields: int,
    all_filters: bool = False,
    ta_tok: TATokDecoder | None = None,
) -> list[GraphSpecification]:
    """Return the graphs of a bundle.

    Args:
        models: In float32, on the CPU.
        dtype: The bundle's precision; sampling and acceptance are float32 in every bundle.
        fields: Ids a prefix token.
        all_filters: Samplers of every resize filter, and not of the default ones alone.
        ta_tok: What makes features of Tar's semantic ids.
    """
    transformers = []
    for number, name in enumerate(model_names(models)):
        model = models.transformer(number)
        transformers += [_transformer(name, model, dtype), _condition(f"{name}_condition", model, fields)]
    semantic = [] if ta_tok is None else [_semantic_features(ta_tok)]
    return [*transformers, *semantic, *_samplers(models, all_filters), _decoder(models), *_sampling(models)]


def model_names(models: Models) -> list[str]:
    """Return the graph name of each model, the target's first."""
    return ["target", *(f"drafter_{number}" for number in range(1, len(models.drafters) + 1))]
