"""Sampling and acceptance as graphs, in float32 at every precision of a bundle.

The reference's rules (DIST-1) with settings as inputs. Top-k and top-p are comparisons with a threshold, without
scatters, which TensorRT would run slowly; the threshold comes from a sort, or where TensorRT cannot sort so many codes
from a search.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mulo_sd.engines.bundle.contract import ACCEPTANCE, MAX_NEIGHBOURS, SAMPLER
from mulo_sd.export.graphs.specification import FEW, GraphSpecification, Range
from mulo_sd.reference.models import Models
from mulo_sd.reference.radius import entropy

# TensorRT's TopK takes no more.
MAX_RANKED = 3840
# To trace with; a graph takes any number.
EXAMPLE_ROWS = 3
LARGEST = torch.finfo(torch.float32).max
# Halvings of an interval as wide as logits differ, some hundred, until nothing in float32 lies in it.
STEPS = 36


def _kept_by_rank(warm: Tensor, top_k: Tensor, top_p: Tensor) -> Tensor:
    """Return which codes top-k and top-p keep, Bool[T, V]: all are sorted, and compared with the last that is kept."""
    ranked = warm.topk(warm.shape[-1], dim=-1).values  # Float[T, V], descending
    kth = ranked.index_select(1, top_k.reshape(1) - 1)
    ranked_probs = torch.where(ranked >= kth, ranked, -torch.inf).softmax(dim=-1)
    # How many of the most likely tokens top-p keeps: those whose sum does not exceed it, and one more.
    kept = (ranked_probs.cumsum(dim=-1) <= top_p).sum(dim=-1, keepdim=True) + 1
    reached = (ranked >= kth).sum(dim=-1, keepdim=True).clamp(min=1)  # no NaN reaches anything
    kept = torch.where(top_p >= 1, reached, torch.minimum(kept, reached))
    threshold = ranked.gather(1, kept - 1)
    above = warm > threshold
    # Tokens that equal the threshold rank by code, the lower first.
    equal = warm == threshold
    places_left = kept - above.sum(dim=-1, keepdim=True)
    return above | (equal & (equal.long().cumsum(dim=-1) <= places_left))


def _kept_by_search(warm: Tensor, top_k: Tensor, top_p: Tensor) -> Tensor:
    """Return the same where there are too many codes to sort: both thresholds are found by halving an interval.

    What is left of it after STEPS steps is narrower than what float32 tells apart at the size of logits.
    """
    smallest, largest = warm.amin(dim=-1, keepdim=True), warm.amax(dim=-1, keepdim=True)
    low, high = smallest, largest + 1  # low is reached by top_k codes at least, high by fewer
    for _ in range(STEPS):
        middle = (low + high) / 2
        enough = (warm >= middle).sum(dim=-1, keepdim=True) >= top_k
        low, high = torch.where(enough, middle, low), torch.where(enough, high, middle)
    reaches = warm >= torch.where(warm >= low, warm, torch.inf).amin(dim=-1, keepdim=True)
    probs = torch.where(reaches, warm, -torch.inf).softmax(dim=-1)
    low, high = smallest - 1, largest  # above low lies more than top_p of the probability, above high no more
    for _ in range(STEPS):
        middle = (low + high) / 2
        less = torch.where(warm > middle, probs, 0.0).sum(dim=-1, keepdim=True) <= top_p
        low, high = torch.where(less, low, middle), torch.where(less, middle, high)
    threshold = torch.where(warm > low, warm, torch.inf).amin(dim=-1, keepdim=True)
    above, equal = warm > threshold, warm == threshold
    # Tokens that equal the threshold rank by code, the lower first: each is kept while those before it sum to no more.
    before = torch.where(above, probs, 0.0).sum(dim=-1, keepdim=True)
    each = torch.where(equal, probs, 0.0).amax(dim=-1, keepdim=True)
    rank = equal.long().cumsum(dim=-1) - 1
    kept = above | (equal & ((rank == 0) | (before + rank * each <= top_p)))
    return reaches & ((top_p >= 1) | kept)


class _Settings(NamedTuple):
    """Settings of DIST-1 as inputs of a graph, tensors without dimensions."""

    guidance_scale: Tensor
    temperature: Tensor
    top_k: Tensor
    top_p: Tensor


NEUTRAL = _Settings(torch.tensor(1.0), torch.tensor(1.0), torch.tensor(0), torch.tensor(1.0))


def _log_probs(cond_logits: Tensor, uncond_logits: Tensor, settings: _Settings) -> tuple[Tensor, Tensor]:
    """Return log p, Float32[T, V] (DIST-1); top_k 0 and top_p 1 keep all, temperature 0 is greedy.

    Beside it, Bool[T], whether all logits of a row are finite: where not, all of it is NaN, which filters would hide.
    """
    guidance_scale, temperature, top_k, top_p = settings
    codes = cond_logits.shape[-1]
    logits = uncond_logits + guidance_scale * (cond_logits - uncond_logits)
    greedy = temperature == 0
    best = torch.arange(codes)[None] == logits.argmax(dim=-1, keepdim=True)
    warm = logits / torch.where(greedy, 1.0, temperature)

    last = torch.where((top_k <= 0) | (top_k > codes), codes, top_k)
    keep = _kept_by_rank(warm, last, top_p) if codes <= MAX_RANKED else _kept_by_search(warm, last, top_p)
    keep = (greedy & best) | (~greedy & keep)
    masked = torch.where(keep, warm, -torch.inf)
    sound = (~(warm.abs() <= LARGEST)).sum(dim=-1, keepdim=True) == 0
    return torch.where(sound, masked.log_softmax(dim=-1), torch.nan), sound[:, 0]


class SamplerGraph(nn.Module):
    """Logits to tokens: argmax of log p + noise (RNG-1).

    Inputs: cond_logits, uncond_logits, noise Float32[T, V]; guidance_scale, temperature, top_p Float32[];
    top_k Int[]. Outputs: tokens Int[T], -1 where a logit of the row is not finite, log_probs Float32[T, V].
    """

    def forward(
        self,
        cond_logits: Tensor,
        uncond_logits: Tensor,
        noise: Tensor,
        guidance_scale: Tensor,
        temperature: Tensor,
        top_k: Tensor,
        top_p: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Sample one token a row."""
        log_probs, sound = _log_probs(cond_logits, uncond_logits, _Settings(guidance_scale, temperature, top_k, top_p))
        return torch.where(sound, (log_probs + noise).argmax(dim=-1), -1), log_probs


class AcceptanceGraph(nn.Module):
    """Logits and draft tokens to pooled probabilities (POOL-1) and entropies (LOCAL-3).

    Inputs: cond_logits, uncond_logits Float32[T, V]; guidance_scale, temperature, top_k, top_p as for the sampler;
    draft_tokens Int[T]; neighbours Int[V, k]. Outputs: pooled_probs Float32[T], NaN where a logit of the row is not
    finite, log_probs Float32[T, V], entropies Float32[T] in nats.
    """

    def forward(
        self,
        cond_logits: Tensor,
        uncond_logits: Tensor,
        guidance_scale: Tensor,
        temperature: Tensor,
        top_k: Tensor,
        top_p: Tensor,
        draft_tokens: Tensor,
        neighbours: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Pool the target's probability around every draft token."""
        log_probs, _ = _log_probs(cond_logits, uncond_logits, _Settings(guidance_scale, temperature, top_k, top_p))
        near = log_probs.exp().gather(1, F.embedding(draft_tokens, neighbours))
        return near.sum(dim=-1), log_probs, entropy(log_probs)


def _row_profiles(ranges: Mapping[str, Range], codes: int) -> tuple[Mapping[str, Range], ...]:
    """Return the profiles of a graph over rows: one, few, and a whole grid.

    Of a searched threshold there is one profile, with one usual row: TensorRT for RTX looks for minutes for kernels of
    hundreds (docs/decisions.md).
    """
    cells = ranges["rows"][-1]
    if codes > MAX_RANKED:
        return ()
    few = min(FEW, cells)
    return (
        {**ranges, "rows": (1, 1, 1)},
        {**ranges, "rows": (1, min(8, few), few)},
        {**ranges, "rows": (1, max(cells // 4, 1), cells)},
    )


def sampler_graph(models: Models) -> GraphSpecification:
    """Return the graph that samples tokens."""
    config = models.target.config
    codes, cells = config.vocabulary, config.grid_height * config.grid_width
    rows = {name: torch.zeros(EXAMPLE_ROWS, codes) for name in ("cond_logits", "uncond_logits", "noise")}
    example = {**rows, **NEUTRAL._asdict()}
    ranges: dict[str, Range] = {"rows": (1, 1, cells)}  # a step of many islands samples many cells at once
    return GraphSpecification(
        name=SAMPLER,
        module=SamplerGraph(),
        example=example,
        dynamic={name: {0: "rows"} for name in rows},
        input_names=tuple(example),
        output_names=("tokens", "log_probs"),
        ranges=ranges,
        kind="probabilities",
        compared="log_probs",
        weights="sampling",
        profiles=_row_profiles(ranges, codes),
    )


def acceptance_graph(models: Models) -> GraphSpecification:
    """Return the graph that pools probabilities around draft tokens."""
    config = models.target.config
    codes, cells = config.vocabulary, config.grid_height * config.grid_width
    example = {
        "cond_logits": torch.zeros(EXAMPLE_ROWS, codes),
        "uncond_logits": torch.zeros(EXAMPLE_ROWS, codes),
        **NEUTRAL._asdict(),
        "draft_tokens": torch.zeros(EXAMPLE_ROWS, dtype=torch.long),
        "neighbours": torch.zeros(codes, 4, dtype=torch.long),
    }
    by_row = {name: {0: "rows"} for name in ("cond_logits", "uncond_logits", "draft_tokens")}
    usual_rows = cells // 4 if codes <= MAX_RANKED else 1
    ranges: dict[str, Range] = {"rows": (1, usual_rows, cells), "near": (1, 16, min(codes, MAX_NEIGHBOURS))}
    return GraphSpecification(
        name=ACCEPTANCE,
        module=AcceptanceGraph(),
        example=example,
        dynamic={**by_row, "neighbours": {1: "near"}},
        input_names=tuple(example),
        output_names=("pooled_probs", "log_probs", "entropies"),
        ranges=ranges,
        kind="probabilities",
        compared="pooled_probs",
        weights="sampling",
        profiles=_row_profiles(ranges, codes),
    )
