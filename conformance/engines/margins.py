"""CONF-2's margins: how far a reference decision is from falling the other way.

A logit error of at most e, on both halves of a guided pair, moves a guided logit by at most
(|s| + |1 - s|) e at scale s; after the temperature, a gap of two perturbed log-probabilities moves by
at most twice that. Softmax is 1-Lipschitz in the same sense: with every log-probability off by at
most 2 g (g the guided error over the temperature), a pooled probability P moves by at most
P (exp(2 g) - 1). A decision whose margin is smaller may differ; it is a near-tie.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from reference.noise import gumbel_noise, sample_stream
from reference.sampling import target_log_probs
from reference.settings import Settings

# Rounding of the float32 sampler itself, in nats.
ROUNDING = 1e-5


def guided_error(logit_error: float, settings: Settings) -> float:
    """Return the largest error of a guided, tempered logit."""
    scale = settings.guidance_scale
    return logit_error * (abs(scale) + abs(1 - scale)) / max(settings.temperature, 1e-6)


def log_probs(logits: NDArray[np.float32], settings: Settings) -> torch.Tensor:
    """Return log p, Float[n, V], of Float32[B, n, V]."""
    cond, uncond = torch.from_numpy(logits[0]), torch.from_numpy(logits[-1]) if len(logits) == 2 else None
    return target_log_probs(cond, uncond, settings.guidance_scale, settings.temperature, settings.top_k, settings.top_p)


def sampling_margin(logits: NDArray[np.float32], settings: Settings, seed: int, model: int, cell: int) -> float:
    """Return how far the best perturbed log-probability is above the second best, for one row Float32[B, 1, V]."""
    row = log_probs(logits, settings)
    perturbed = row + gumbel_noise(seed, sample_stream(model), [cell], row.shape[-1])
    best, second = perturbed[0].topk(2).values.tolist()
    return float(best - second)


def sampling_allowance(logit_error: float, settings: Settings) -> float:
    """Return the margin below which a sampled token may differ."""
    return 2 * guided_error(logit_error, settings) + ROUNDING


def pooled_allowance(pooled: float, logit_error: float, settings: Settings) -> float:
    """Return the margin |pooled - tau| below which an acceptance may differ."""
    return pooled * math.expm1(2 * guided_error(logit_error, settings)) + ROUNDING
