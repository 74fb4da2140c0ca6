"""Compare a graph with the float32 reference on real inputs: passes and scenes of the demo."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from engines.bundle.manifest import Family
from engines.slots import SlotTable
from export.graphs.transformer import cache_head_dim
from export.precision import (
    CODE_MARGIN,
    CODE_TOLERANCE,
    EMBEDDING_TOLERANCE,
    FEATURE_TOLERANCE,
    LARGE_CODEBOOK_FACTOR,
    LOGIT_TOLERANCE,
    OTHER_CODE_TOLERANCE,
    PIXEL_TOLERANCE,
    PROBABILITY_TOLERANCE,
    PUBLISHED_FACTOR,
    SMALL_CODEBOOK,
    Precision,
)
from export.specification import GraphSpecification, Kind, slot_count
from reference.checkpoints.ta_tok import TATokDecoder, semantic_features
from reference.codebook import pooled_probs
from reference.decode import decode
from reference.latent import LatentScaler
from reference.models import Condition, Models
from reference.radius import entropy
from reference.sampling import target_log_probs
from reference.scaling import enlarge, shrink
from reference.settings import DownSampler, Settings, UpSampler
from reference.trace import Pass
from reference.transformer import Transformer

# Flat inputs to outputs by name; a graph in any runtime.
Runner = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]

COMPARED_PASSES = 40
EDGE_CODES = 2
ERROR_OF: dict[Kind, str] = {
    "logits": "largest absolute difference of a logit over real passes (prefill, verification, single tokens)",
    "embeddings": "largest difference of a prefix embedding, relative where they are large",
    "features": "largest absolute difference of a feature of semantic ids",
    "pixels": "largest absolute difference of a pixel, 0..255",
    "codes": "share of codes farther than a near-tie, or (scaled to the same limit) of other codes at all",
    "probabilities": "largest absolute difference of a log-probability, pooled probability or entropy",
}


class ToleranceError(ValueError):
    """A graph that is too far from the reference; its message names the tensor and the distance."""


@dataclass(frozen=True)
class Evidence:
    """Real inputs: what a reference decode did, and the tokens of real scenes.

    Attributes:
        models: The float32 reference.
        condition: The prefix decoded.
        passes: The first passes of each model, with logits.
        tokens: Of a real scene, on the grid of each model, Int[h, w].
        neighbours: Int[V, k].
        ta_tok: What makes features of Tar's semantic ids, if the bundle is to hold it.
    """

    models: Models
    condition: Condition
    passes: Sequence[list[Pass]]
    tokens: tuple[Tensor, ...]
    neighbours: Tensor
    ta_tok: TATokDecoder | None = None


def gather_evidence(models: Models, condition: Condition, tokens: tuple[Tensor, ...], neighbours: Tensor) -> Evidence:
    """Decode one image with the reference, every model in its turn, and keep each one's first passes."""
    numbers = range(len(models.drafters) + 1)
    settings = Settings(drafters=tuple(numbers[1:]), tau=0.3, radius=1)
    trace = decode(models, condition, settings, seed=1, record_logits=True).trace
    passes = [[item for item in trace.passes if item.model == number][:COMPARED_PASSES] for number in numbers]
    return Evidence(models, condition, tuple(passes), tokens, neighbours)


def model_number(graph: str) -> int:
    """Return the number of the model that a transformer's graph, or its condition's, belongs to; 0 for the others."""
    return int(graph.split("_")[1]) if graph.startswith("drafter") else 0


def tolerance_of(kind: Kind, precision: Precision, family: Family = "demo") -> float:
    """Return the largest error that a graph may have."""
    factor = 1 if family == "demo" else PUBLISHED_FACTOR
    by_kind = {
        "logits": factor * LOGIT_TOLERANCE[precision],
        "embeddings": EMBEDDING_TOLERANCE[precision],
        "features": factor * FEATURE_TOLERANCE[precision],
        "pixels": factor * PIXEL_TOLERANCE[precision],
        "codes": CODE_TOLERANCE[precision],
        "probabilities": PROBABILITY_TOLERANCE,
    }
    return by_kind[kind]


def _largest(difference: Tensor) -> float:
    return float(difference.double().abs().max())


def _replay(
    run: Runner, specification: GraphSpecification, model: Transformer, prefix: Tensor, passes: Sequence[Pass]
) -> float:
    """Feed recorded passes through a graph; return the largest difference of its logits."""
    config, batch = model.config, len(prefix)
    table = SlotTable(slot_count(model), config.sequence_length)
    dtype = specification.example["caches"][0].dtype
    names = [name for name in specification.input_names if name not in specification.example]
    shape = (batch, config.heads, slot_count(model), cache_head_dim(model))
    caches = {name: torch.zeros(shape, dtype=dtype) for name in names}
    worst = 0.0
    for item in passes:
        positions: NDArray[np.int64] = item.positions.numpy()
        if not table.has_room(positions):
            break
        start = table.place(positions)
        empty = torch.zeros(batch, len(positions), config.dim)
        inputs = {
            "tokens": item.tokens[None].expand(batch, -1).contiguous(),
            "prefix": prefix[:, item.positions] if int(item.tokens[0]) < 0 else empty,
            "positions": item.positions[None].expand(batch, -1).contiguous(),
            "slot_ranks": torch.from_numpy(table.ranks)[None].repeat(batch, 1),
            "write_index": torch.full((batch,), start),
            **caches,
        }
        outputs = run(inputs)
        caches = {name: outputs[f"new_{name}"] for name in names}
        if item.logits is None:
            raise ValueError("evidence: expected passes with their logits, got one without")
        worst = max(worst, _largest(outputs["logits"] - item.logits))
    return worst


def _sampling_settings() -> list[dict[str, float]]:
    plain = {"guidance_scale": 1.5, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
    return [
        plain,
        plain | {"top_k": 50},
        plain | {"top_p": 0.9},
        plain | {"temperature": 0.7, "top_k": 200, "top_p": 0.8},
    ]


def _setting_tensors(settings: Mapping[str, float]) -> dict[str, Tensor]:
    return {
        name: torch.tensor(value, dtype=torch.long if name == "top_k" else torch.float32)
        for name, value in settings.items()
    }


def _compare_sampling(run: Runner, specification: GraphSpecification, evidence: Evidence) -> float:
    # A verification of the target: many rows of real logits.
    widest = max(evidence.passes[0][1:], key=lambda item: len(item.tokens))
    logits, tokens = widest.logits, widest.tokens
    if logits is None:
        raise ValueError("evidence: expected passes with their logits, got one without")
    cond, uncond = logits[0], logits[1]
    if specification.name == "sampler":
        cond, uncond = cond[:64], uncond[:64]
    worst = 0.0
    for settings in _sampling_settings():
        expected = target_log_probs(cond, uncond, **settings)  # type: ignore[arg-type]  # top_k is an int there
        inputs = {"cond_logits": cond, "uncond_logits": uncond, **_setting_tensors(settings)}
        if specification.name == "sampler":
            outputs = run(inputs | {"noise": torch.zeros_like(cond)})
            worst = max(worst, float((outputs["tokens"] != expected.argmax(-1)).any()))
        else:
            outputs = run(inputs | {"draft_tokens": tokens, "neighbours": evidence.neighbours})
            pooled = pooled_probs(expected.exp(), tokens, evidence.neighbours)
            worst = max(worst, _largest(outputs["pooled_probs"] - pooled))
            worst = max(worst, _largest(outputs["entropies"] - entropy(expected)))
        worst = max(worst, _log_prob_error(outputs["log_probs"], expected))
    return worst


def _log_prob_error(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference of log p, Float[n, V], infinite where other codes are kept (DIST-1).

    Rounding may keep one or two other codes at the edge of top-p: in one row of a hundred, of 1,024 codes; in one of
    ten, of VQ-16's 16,384.
    """
    kept = torch.isfinite(expected)
    others = (kept != torch.isfinite(found)).sum(dim=-1)
    same, most = others == 0, 0.01 if expected.shape[-1] <= SMALL_CODEBOOK else 0.1
    if float((~same).float().mean()) > most or int(others.max()) > EDGE_CODES:
        return float("inf")
    kept &= same[:, None]
    return _largest(found[kept] - expected[kept])


def _compare_scaling(run: Runner, specification: GraphSpecification, evidence: Evidence, precision: Precision) -> float:
    models, wrong, other, total = evidence.models, 0, 0, 0
    direction, ratio_text, method = specification.name.rsplit("_", 2)
    ratio = int(ratio_text)
    for number, draft_number in combinations(range(len(models.drafters) + 1), 2):
        if models.scale_ratio(number, draft_number) != ratio:
            continue
        high, low = evidence.tokens[number], evidence.tokens[draft_number]
        for rows in sorted({1, len(low) // 2 + 1, len(low)}):
            if direction == "up_sampler":
                given = low[:rows]
                expected = models.up_sample(cast(UpSampler, method), given, ratio)
            else:
                given = high[: rows * ratio]
                expected = models.down_sample(cast(DownSampler, method), given, ratio)
            found = run({specification.input_names[0]: given.contiguous()})[specification.compared]
            chosen_by = _code_features(models, direction, method, given, ratio)
            codes = F.normalize(models.tokenizer.codebook.float(), dim=-1)
            lead = (chosen_by * (codes[expected] - codes[found])).sum(dim=-1)
            wrong += int((lead > CODE_MARGIN[precision]).sum())
            other += int((found != expected).sum())
            total += expected.numel()
    most_other = OTHER_CODE_TOLERANCE[precision]
    if models.tokenizer.config.codes > SMALL_CODEBOOK:
        most_other *= LARGE_CODEBOOK_FACTOR
    # In one number: as far within its limit as the worse of the two shares is.
    return max(wrong / total, other / total * CODE_TOLERANCE[precision] / most_other)


def _code_features(models: Models, direction: str, method: str, given: Tensor, ratio: int) -> Tensor:
    """Return the reference's normalised features that U_r or D_r looks codes up by, Float[H, W, d]."""
    if method == "latent":
        samplers = models.latent_up_samplers if direction == "up_sampler" else models.latent_down_samplers
        return cast(LatentScaler, samplers[ratio]).features(given[None])[0]
    images = models.tokenizer.images_from_tokens(given[None])
    resized = enlarge(images, ratio, method) if direction == "up_sampler" else shrink(images, ratio, method)
    return models.tokenizer.features(resized)[0]


@torch.inference_mode()
def measure_error(
    run: Runner, specification: GraphSpecification, evidence: Evidence, precision: Precision = "fp32"
) -> float:
    """Return a graph's error, of the kind that its specification names; the precision says what a near-tie is."""
    models, name = evidence.models, specification.name
    number = model_number(name)
    model = models.transformer(number)
    if specification.kind == "logits":
        prefix = model.prefix_embeddings(evidence.condition.prefixes(model, 2.0))
        return _replay(run, specification, model, prefix, evidence.passes[number])
    if specification.kind == "embeddings":
        prefixes = evidence.condition.prefixes(model, 2.0)
        expected = model.prefix_embeddings(prefixes)
        return _largest(run({"condition": prefixes})["prefix"] - expected) / max(1.0, _largest(expected))
    if specification.kind == "features" and evidence.ta_tok is not None:
        semantic_ids = torch.arange(evidence.ta_tok.count) % evidence.ta_tok.config.codes
        return _largest(run({"ids": semantic_ids})["features"] - semantic_features(evidence.ta_tok, semantic_ids))
    if specification.kind == "pixels":
        image = models.tokenizer.images_from_tokens(evidence.tokens[0][None])[0]
        expected = ((image + 1) * 127.5).clamp(0, 255).permute(1, 2, 0)
        return _largest(run({"tokens": evidence.tokens[0]})["image"] - expected)
    if specification.kind == "codes":
        return _compare_scaling(run, specification, evidence, precision)
    return _compare_sampling(run, specification, evidence)


def check_error(specification: GraphSpecification, error: float, precision: Precision, family: Family = "demo") -> None:
    """Compare an error with its tolerance.

    Raises:
        ToleranceError: it is larger.
    """
    limit = tolerance_of(specification.kind, precision, family)
    if not error <= limit:
        raise ToleranceError(
            f"graph {specification.name}, output {specification.compared}: {ERROR_OF[specification.kind]} is "
            f"{error:.4g}, expected at most {limit:g} in {precision}; the bundle was not written"
        )
