"""From logits to log p on the device: guidance, temperature, top-k, top-p, softmax (DIST-1)."""

import torch
from torch import Tensor


def _running_sums(values: Tensor) -> Tensor:
    """Return the running sums of each row; of one row alone CUDA adds in an order that varies from run to run."""
    if len(values) > 1 or values.device.type == "cpu":
        return values.cumsum(dim=-1)
    return values.expand(2, -1).contiguous().cumsum(dim=-1)[:1]


def _kept_by_rank(warm: Tensor, top_k: int, top_p: float) -> Tensor:
    """Return which codes top-k and top-p keep, Bool[n, V]: all are sorted, and compared with the last that is kept."""
    ranked = warm.sort(dim=-1, descending=True).values
    reaches = ranked >= ranked[:, top_k - 1 : top_k]
    ranked_probs = ranked.masked_fill(~reaches, -torch.inf).softmax(dim=-1)
    # How many of the most likely tokens top-p keeps: those whose sum does not exceed it, and one more.
    kept = (_running_sums(ranked_probs) <= top_p).sum(dim=-1, keepdim=True) + 1
    # At least one, since no NaN reaches anything.
    kept = torch.minimum(kept, reaches.sum(dim=-1, keepdim=True).clamp(min=1))
    threshold = ranked.gather(1, kept - 1)
    above, equal = warm > threshold, warm == threshold
    # Tokens that equal the threshold rank by code, the lower first.
    return above | (equal & (equal.long().cumsum(dim=-1) <= kept - above.sum(dim=-1, keepdim=True)))


def log_probs(
    logits: Tensor, guidance_scale: float, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0
) -> Tensor:
    """Return log p, Float32[n, V]; NaN for all codes of a row whose logits are not finite.

    Args:
        logits: Float32[B, n, V]: the conditional half first, the unconditional one last; B = 1 is no guidance.
        guidance_scale: 1 is the conditional distribution.
        temperature: 0 puts everything on the argmax.
        top_k: Keep every logit that reaches the k-th largest; 0 keeps all.
        top_p: Keep the most likely tokens until their sum exceeds it, the last of them included; 1 keeps all.
    """
    warm = logits[0] if len(logits) == 1 else logits[-1] + guidance_scale * (logits[0] - logits[-1])
    codes = warm.shape[-1]
    # 0, and NaN where the largest is NaN, as it is where any is, or infinite; what a filter drops shows nothing.
    nothing = warm.amax(dim=-1, keepdim=True) * 0.0
    if temperature == 0:
        return torch.full_like(warm, -torch.inf).scatter_(-1, warm.argmax(dim=-1, keepdim=True), 0.0) + nothing
    if temperature != 1:
        warm = warm / temperature
    top_k = codes if top_k <= 0 or top_k > codes else top_k
    if top_p < 1:
        warm = warm.masked_fill(~_kept_by_rank(warm, top_k, top_p), -torch.inf)
    elif top_k < codes:
        warm = warm.masked_fill(warm < warm.topk(top_k, dim=-1).values[:, -1:], -torch.inf)
    return warm.log_softmax(dim=-1) + nothing


def best_tokens(scores: Tensor) -> Tensor:
    """Return the code of the largest score of each row, Float[n, V], the lower of equal ones; -1 where one is NaN."""
    return torch.where(scores.amax(dim=-1).isnan(), -1, scores.argmax(dim=-1))
