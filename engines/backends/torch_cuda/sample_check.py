"""Holds the kernels of sampling and acceptance against torch's own operations, once, before they are used."""

import numpy as np
import torch
from torch import Tensor

from mulo_sd.engines.backends.torch_cuda.noise import gumbel_noise
from mulo_sd.engines.backends.torch_cuda.sample_launch import SampleKernels
from mulo_sd.engines.backends.torch_cuda.sampling import log_probs
from mulo_sd.engines.distribution import Distribution
from mulo_sd.reference.radius import entropy

# Of probabilities and entropies.
TOLERANCE = 1e-3
ROWS, SEED, STREAM = 8, 2**40 + 5, 2


def _random_logits(device: torch.device, vocabulary: int) -> Tensor:
    """Return logits of two images with guidance, Float32[4, ROWS, V]."""
    generator = torch.Generator().manual_seed(SEED)
    return (2.0 * torch.randn(4, ROWS, vocabulary, generator=generator)).to(device)


def _together(kernels: SampleKernels, both: Tensor, distribution: Distribution) -> str | None:
    """Return in what one call for two images answers otherwise than one for each; None is in nothing."""
    rows, halves = np.arange(ROWS), (both[:2], both[2:])
    seeds, streams = (SEED, SEED - 1), (STREAM, STREAM + 1)
    alone = [
        kernels.sample(logits, rows, rows, distribution, seed, stream).tolist()
        for logits, seed, stream in zip(halves, seeds, streams, strict=True)
    ]
    twice = np.concatenate([rows, rows])
    each = [np.repeat(np.array(values), ROWS) for values in (seeds, streams, (0, 2))]
    tokens = kernels.sample(
        both, twice, twice, distribution, each[0].astype(np.uint64), each[1], first_rows=each[2], guided=True
    ).tolist()
    return None if tokens == [*alone[0], *alone[1]] else f"tokens of two images: expected {alone}, got {tokens}"


def difference(kernels: SampleKernels, vocabulary: int) -> str | None:
    """Return in what the kernels answer otherwise than torch on random logits of a vocabulary; None is in nothing.

    Args:
        kernels: On their device, whose stream is current.
        vocabulary: V.
    """
    both, rows, device = _random_logits(kernels.device, vocabulary), np.arange(ROWS), kernels.device
    logits = both[:2]
    if not kernels.takes(logits):
        return None
    distribution = Distribution(guidance_scale=2.0, temperature=0.9, top_k=max(1, vocabulary // 16))
    drafts = rows % vocabulary
    neighbours = torch.arange(vocabulary, dtype=torch.int32, device=device)[:, None].expand(-1, 2).contiguous()
    expected = log_probs(logits, 2.0, 0.9, distribution.top_k)
    noise = gumbel_noise(SEED, STREAM, torch.arange(ROWS, device=device), vocabulary)
    tokens = (expected + noise).argmax(dim=-1).tolist()
    near = kernels.near
    for called, kernels.near in (("rough", near), ("exact", 1e6)):
        drawn = kernels.sample(logits, rows, rows, distribution, SEED, STREAM).tolist()
        if drawn != tokens:
            kernels.near = near
            return f"tokens by {called} noise: expected {tokens}, got {drawn}"
    kernels.near = near
    found = _together(kernels, both, distribution)
    if found is not None:
        return found
    judged = kernels.judge(logits, rows, distribution, drafts, neighbours)
    pooled = 2 * expected.exp().gather(1, torch.from_numpy(drafts).to(device)[:, None])[:, 0]
    for name, ours, theirs in (("pooled", judged[0], pooled), ("entropies", judged[1], entropy(expected))):
        error = float(np.abs(ours - theirs.cpu().numpy()).max())
        if not error < TOLERANCE:
            return f"{name}: off by {error:.2g}, expected {TOLERANCE:g} at most"
    return None
