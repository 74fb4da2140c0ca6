"""From logits to the target distribution, and from there to a token."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mulo_sd.reference.noise import gumbel_noise

__all__ = ["guided_logits", "gumbel_noise", "sample", "target_log_probs", "target_probs"]


def guided_logits(cond_logits: Tensor, uncond_logits: Tensor | None, guidance_scale: float) -> Tensor:
    """Apply classifier-free guidance: uncond + scale * (cond - uncond) (DIST-1)."""
    if uncond_logits is None:
        return cond_logits
    return uncond_logits + guidance_scale * (cond_logits - uncond_logits)


def keep_top_k(logits: Tensor, top_k: int) -> Tensor:
    """Mask all logits below the k-th largest; ties with it are kept; 0 keeps all (DIST-1)."""
    if top_k <= 0 or top_k >= logits.shape[-1]:
        return logits
    threshold = logits.topk(top_k, dim=-1).values[..., -1:]
    return logits.masked_fill(logits < threshold, -torch.inf)


def keep_top_p(logits: Tensor, top_p: float) -> Tensor:
    """Keep every token before which the more likely ones sum to `top_p` at most (DIST-1).

    So the token that crosses the threshold is kept, and so is the one after a sum that equals it; equal logits rank by
    token, the lower first.
    """
    if top_p >= 1.0:
        return logits
    ranked, order = logits.sort(dim=-1, descending=True, stable=True)
    sums = ranked.softmax(dim=-1).cumsum(dim=-1)
    # The first has nothing before it.
    too_much_before = F.pad(sums[..., :-1] > top_p, (1, 0), value=False)
    dropped = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, too_much_before)
    return logits.masked_fill(dropped, -torch.inf)


def target_log_probs(
    cond_logits: Tensor,
    uncond_logits: Tensor | None = None,
    guidance_scale: float = 1.0,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
) -> Tensor:
    """Return log p_u, Float[..., V], in float32 or better; see `target_probs`."""
    wide = torch.promote_types(cond_logits.dtype, torch.float32)  # before guidance: half precision could overflow
    logits = guided_logits(
        cond_logits.to(wide), None if uncond_logits is None else uncond_logits.to(wide), guidance_scale
    )
    if temperature == 0:
        greedy = torch.full_like(logits, -torch.inf)
        return greedy.scatter(-1, logits.argmax(dim=-1, keepdim=True), 0.0)
    return keep_top_p(keep_top_k(logits / temperature, top_k), top_p).log_softmax(dim=-1)


def target_probs(
    cond_logits: Tensor,
    uncond_logits: Tensor | None = None,
    guidance_scale: float = 1.0,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
) -> Tensor:
    """Return p_u: guidance, then temperature, then top-k, then top-p, then softmax (DIST-1).

    Args:
        cond_logits: Float[..., V].
        uncond_logits: Float[..., V], or None for no guidance.
        guidance_scale: 1 is the conditional distribution.
        temperature: 0 puts everything on the argmax.
        top_k: Keep every logit that reaches the k-th largest; 0 keeps all.
        top_p: Keep the most likely tokens until their sum exceeds it, the last of them included; 1 keeps all.

    Returns:
        Float[..., V], summing to 1, float32 or better.
    """
    return target_log_probs(cond_logits, uncond_logits, guidance_scale, temperature, top_k, top_p).exp()


def sample(log_probs: Tensor, noise: Tensor) -> Tensor:
    """Sample by Gumbel-max: argmax over v of log p(v) + noise(v), ties to the lower v (RNG-1).

    Args:
        log_probs: Float[n, V].
        noise: Float[n, V] from `gumbel_noise`.

    Returns:
        Int[n].
    """
    return (log_probs + noise).argmax(dim=-1)
