"""MODE-AR for many conditions at once, for training pictures and scores.

Each image equals the one that `reference.decode` draws alone: noise depends on its own seed only.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mulo_sd.reference.cache import KVCache, feed
from mulo_sd.reference.noise import gumbel_noise, sample_stream
from mulo_sd.reference.sampling import sample, target_log_probs
from mulo_sd.reference.transformer import Transformer


@torch.inference_mode()
def decode_batch(
    model: Transformer,
    cond: Tensor,
    uncond: Tensor,
    seeds: Sequence[int],
    guidance_scale: float,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    model_number: int = 0,
    progress: Callable[[int], None] = lambda position: None,
) -> Tensor:
    """Decode one image a seed autoregressively.

    Args:
        model: Target or drafter.
        cond: Int[B, P, fields], one prefix a seed.
        uncond: Int[P, fields], the null prefix.
        seeds: B seeds.
        guidance_scale: As in DIST-1, like the three arguments after it.
        temperature: As in DIST-1.
        top_k: As in DIST-1.
        top_p: As in DIST-1.
        model_number: 0 for the target, 1 for its drafter: selects the noise (RNG-2).
        progress: Called with each position decoded.

    Returns:
        Int[B, H, W], where the model lies.
    """
    config, batch = model.config, len(seeds)
    cells = config.grid_height * config.grid_width
    weight = model.output.weight
    device = weight.device
    cache = KVCache(config, 2 * batch, weight.dtype, device)
    prefixes = torch.cat([cond, uncond[None].expand(batch, -1, -1)]).to(device)
    logits = feed(model, cache, model.prefix_embeddings(prefixes), torch.arange(config.prefix_length, device=device))
    tokens = torch.zeros(batch, cells, dtype=torch.long, device=device)
    for position in range(cells):
        if position > 0:
            previous = tokens[:, position - 1 : position].repeat(2, 1)
            where = torch.tensor([config.prefix_length + position - 1], device=device)
            logits = feed(model, cache, model.token_embeddings(previous), where)
        cond_logits, uncond_logits = logits[:, -1].float().chunk(2)
        log_probs = target_log_probs(cond_logits, uncond_logits, guidance_scale, temperature, top_k, top_p)
        noise = torch.cat(
            [gumbel_noise(seed, sample_stream(model_number), [position], config.vocabulary) for seed in seeds]
        )
        tokens[:, position] = sample(log_probs, noise.to(device))
        progress(position)
    return tokens.reshape(batch, config.grid_height, config.grid_width)
