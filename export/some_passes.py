"""Passes of a transformer on random tokens, of the kinds that a decode makes."""

import torch

from mulo_sd.reference.cache import KVCache, feed
from mulo_sd.reference.models import Condition
from mulo_sd.reference.trace import Pass
from mulo_sd.reference.transformer import Transformer

# Rows of a window whose verification is compared; an eighth of them lies scattered afterwards.
COMPARED_ROWS = 8


def some_passes(model: Transformer, number: int, condition: Condition, generator: torch.Generator) -> list[Pass]:
    """Run the kinds of passes that a decode makes: prefill, one token, a window's verification, a scattered step."""
    config, prefix_positions = model.config, condition.places()
    prefixes = condition.prefixes(model, 2.0)
    cache = KVCache(config, len(prefixes), model.output.weight.dtype)
    fed = [(prefix_positions, torch.full_like(prefix_positions, -1))]
    last = min(COMPARED_ROWS * config.grid_width, config.grid_height * config.grid_width - 1)
    for cells in (torch.arange(1), torch.arange(last), torch.arange(0, last, 8), torch.tensor([last - 1])):
        tokens = torch.randint(config.vocabulary, (len(cells),), generator=generator)
        fed.append((cells + config.prefix_length, tokens))
    passes = []
    for positions, tokens in fed:
        is_prefix = int(tokens[0]) < 0
        embeddings = (
            model.prefix_embeddings(prefixes)[:, prefix_positions]
            if is_prefix
            else model.token_embeddings(tokens)[None]
        )
        logits = feed(model, cache, embeddings.expand(len(prefixes), -1, -1), positions)
        passes.append(Pass(number, positions, tokens, logits))
    return passes
