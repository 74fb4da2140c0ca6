"""Sampling and acceptance as graphs, in float32 at every precision of a bundle.

The reference's rules (DIST-1) with settings as inputs. Top-k and top-p are one sort and a
comparison with a threshold, without scatters, which TensorRT would run slowly.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference.radius import entropy


def _log_probs(
    cond_logits: Tensor,
    uncond_logits: Tensor,
    guidance_scale: Tensor,
    temperature: Tensor,
    top_k: Tensor,
    top_p: Tensor,
) -> Tensor:
    """Return log p, Float32[T, V] (DIST-1); top_k 0 and top_p 1 keep all, temperature 0 is greedy."""
    codes = cond_logits.shape[-1]
    logits = uncond_logits + guidance_scale * (cond_logits - uncond_logits)
    greedy = temperature == 0
    best = torch.arange(codes)[None] == logits.argmax(dim=-1, keepdim=True)
    warm = logits / torch.where(greedy, 1.0, temperature)

    ranked = warm.topk(codes, dim=-1).values  # Float[T, V], descending
    last = torch.where((top_k <= 0) | (top_k > codes), codes, top_k) - 1
    kth = ranked.index_select(1, last.reshape(1))
    ranked_probs = torch.where(ranked >= kth, ranked, -torch.inf).softmax(dim=-1)
    before = ranked_probs.cumsum(dim=-1) - ranked_probs
    # How many of the most likely tokens top-p keeps: those before which the threshold is not reached, at least one.
    kept = ((before < top_p) & (ranked >= kth)).sum(dim=-1, keepdim=True).clamp(min=1)
    kept = torch.where(top_p >= 1, (ranked >= kth).sum(dim=-1, keepdim=True), kept)
    threshold = ranked.gather(1, kept - 1)
    above = warm > threshold
    # Tokens that equal the threshold rank by code, the lower first.
    equal = warm == threshold
    places_left = kept - above.sum(dim=-1, keepdim=True)
    keep = above | (equal & (equal.long().cumsum(dim=-1) <= places_left))
    keep = (greedy & best) | (~greedy & keep)
    masked = torch.where(keep, warm, -torch.inf)
    return masked.log_softmax(dim=-1)


class SamplerGraph(nn.Module):
    """Logits to tokens: argmax of log p + noise (RNG-1).

    Inputs: cond_logits, uncond_logits, noise Float32[T, V]; guidance_scale, temperature, top_p Float32[];
    top_k Int[]. Outputs: tokens Int[T], log_probs Float32[T, V].
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
        log_probs = _log_probs(cond_logits, uncond_logits, guidance_scale, temperature, top_k, top_p)
        return (log_probs + noise).argmax(dim=-1), log_probs


class AcceptanceGraph(nn.Module):
    """Logits and draft tokens to pooled probabilities (POOL-1) and entropies (LOCAL-3).

    Inputs: cond_logits, uncond_logits Float32[T, V]; guidance_scale, temperature, top_k, top_p as for the
    sampler; draft_tokens Int[T]; neighbours Int[V, k]. Outputs: pooled_probs Float32[T], log_probs Float32[T, V],
    entropies Float32[T] in nats.
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
        log_probs = _log_probs(cond_logits, uncond_logits, guidance_scale, temperature, top_k, top_p)
        near = log_probs.exp().gather(1, F.embedding(draft_tokens, neighbours))
        return near.sum(dim=-1), log_probs, entropy(log_probs)
