"""Which codes top-k and top-p keep for certain, and which they may keep, where float32 rounds (DIST-1).

Logits come in as they are, so nothing but rounding lies between a graph and the exact answer. A guided, tempered logit
is off by at most `slack` (three roundings of half a unit in the last place each, and one to spare); a sum of V
probabilities by at most SUM_SLACK * sqrt(V), six standard deviations of as many roundings. Where logits, guidance and
temperature are exact in float32, slack is 0, and equal logits rank by code.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

UNIT = 2.0**-24  # half a unit in the last place of float32, at 1
SUM_SLACK = 6 * UNIT


@dataclass(frozen=True)
class Sampling:
    """Settings of DIST-1."""

    guidance_scale: float = 1.5
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0


def guided(cond: Tensor, uncond: Tensor, settings: Sampling) -> Tensor:
    """Return guided, tempered logits, Float64[n, V]; a temperature of 0 leaves them as they are."""
    wide = uncond.double() + settings.guidance_scale * (cond.double() - uncond.double())
    return wide / (settings.temperature or 1.0)


def slack_of(cond: Tensor, uncond: Tensor, settings: Sampling) -> Tensor:
    """Return by how much float32 may be off in a logit, Float64[n, 1]."""
    temperature = settings.temperature or 1.0
    parts = 2 * abs(settings.guidance_scale) * (cond.double() - uncond.double()).abs()
    parts += 2 * (guided(cond, uncond, settings) * temperature).abs()
    return UNIT * 2 * parts.amax(dim=-1, keepdim=True) / temperature


def kept_exactly(logits: Tensor, settings: Sampling) -> Tensor:
    """Return the codes that exact arithmetic keeps, Bool[n, V], of guided and tempered logits, Float64[n, V]."""
    return _bounds(logits, torch.zeros(len(logits), 1, dtype=torch.float64), settings, room=0.0)[1]


def kept_bounds(logits: Tensor, slack: Tensor, settings: Sampling) -> tuple[Tensor, Tensor]:
    """Return the codes that are kept for certain, and those that may be, Bool[n, V] each.

    Args:
        logits: Float64[n, V], guided and tempered.
        slack: Float64[n, 1], of each row; 0 where they are exact.
        settings: What is kept.
    """
    return _bounds(logits, slack, settings, room=SUM_SLACK * logits.shape[-1] ** 0.5)


def _bounds(logits: Tensor, slack: Tensor, settings: Sampling, room: float) -> tuple[Tensor, Tensor]:
    if settings.temperature == 0:
        best = logits.max(dim=-1, keepdim=True).values
        possible = logits >= best - 2 * slack
        alone = possible.sum(dim=-1, keepdim=True) == 1
        exact = torch.arange(logits.shape[-1]) == logits.argmax(dim=-1, keepdim=True)
        return exact & (alone | (slack == 0)), torch.where(slack == 0, exact, possible)
    sure, possible = _top_k(logits, slack, settings.top_k)
    if settings.top_p >= 1:
        return sure, possible
    ranked = logits.masked_fill(~possible, -torch.inf)
    weights = (ranked - ranked.amax(dim=-1, keepdim=True)).exp()
    most, least = weights.sum(dim=-1, keepdim=True), (weights * sure).sum(dim=-1, keepdim=True)
    surely_before, maybe_before = _before(ranked, weights, slack)
    doubtful = most - least  # codes that top-k may keep, and may not
    kept = (maybe_before / least) * (2 * slack).exp() + room < settings.top_p
    may_be = (surely_before - doubtful) / most * (-2 * slack).exp() - room <= settings.top_p
    first = _first(ranked, slack)
    return sure & (kept | first), possible & (may_be | first)


def _top_k(logits: Tensor, slack: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    codes = logits.shape[-1]
    if top_k <= 0 or top_k >= codes:
        every = torch.ones_like(logits, dtype=torch.bool)
        return every, every
    highest = logits.topk(top_k + 1, dim=-1).values
    last, next_one = highest[:, top_k - 1 : top_k], highest[:, top_k:]
    sure = (logits >= last) & ((slack == 0) | (logits - next_one > 2 * slack))
    return sure, logits >= last - 2 * slack


def _before(logits: Tensor, weights: Tensor, slack: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weight of the codes that rank before each for certain, and of all that may, Float64[n, V]."""
    ranked, order = logits.sort(dim=-1, descending=True, stable=True)
    sums = torch.nn.functional.pad(weights.gather(1, order).cumsum(dim=-1), (1, 0))
    ranks = torch.empty_like(order).scatter_(1, order, torch.arange(logits.shape[-1]).expand_as(order).contiguous())
    exact = sums.gather(1, ranks)
    falling = (-ranked).contiguous()
    low = torch.searchsorted(falling, -logits - 2 * slack, side="left")
    high = torch.searchsorted(falling, -logits + 2 * slack, side="right")
    surely = torch.where(slack == 0, exact, sums.gather(1, low))
    maybe = torch.where(slack == 0, exact, sums.gather(1, high) - weights)
    return surely, maybe


def _first(logits: Tensor, slack: Tensor) -> Tensor:
    """Return the code that ranks first and is always kept, where it is certain, Bool[n, V]."""
    best = logits.argmax(dim=-1, keepdim=True)
    alone = (logits >= logits.gather(1, best) - 2 * slack).sum(dim=-1, keepdim=True) == 1
    return (torch.arange(logits.shape[-1]) == best) & (alone | (slack == 0))
