"""Random weights for models that nobody has trained, and random conditions for them."""

import torch
from torch import nn

from mulo_sd.reference.models import Condition
from mulo_sd.reference.transformer import TransformerConfig


def fill(module: nn.Module, generator: torch.Generator, sharpness: float) -> None:
    """Draw every weight of a module; a matrix keeps about the scale of its input.

    Args:
        module: Mutated; its rotary tables stay.
        generator: The only source of randomness.
        sharpness: About the standard deviation of the logits.
    """
    for name, parameter in [*module.named_parameters(), *module.named_buffers()]:
        if name in ("cos", "sin"):
            continue
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        if name.endswith("norm.weight"):
            noise = 1 + 0.1 * noise
        elif name == "output.weight":
            noise *= sharpness / parameter.shape[1] ** 0.5
        elif name.endswith("bias"):
            noise *= 0.2
        elif name.endswith("weight") and "embed" not in name:
            noise *= 1.4 / parameter[0].numel() ** 0.5
        parameter.data.copy_(noise)
    module.eval().requires_grad_(False)


def random_condition(config: TransformerConfig, generator: torch.Generator) -> Condition:
    """Return a condition that a model takes: ids of a caption, a class, features, or a caption's padded on the left.

    Args:
        config: Of the model; where conditions are fields, of one that takes an id a prefix token.
        generator: The only source of randomness.
    """
    if config.condition == "fields":
        # As captions have them: 1 is the null condition, and no text has an id below 3.
        ids = torch.randint(3, config.prefix_vocabulary, (config.prefix_length, 1), generator=generator)
        return Condition(ids, torch.ones_like(ids))
    if config.condition == "class":
        # The last class is the null class.
        return Condition(torch.randint(config.prefix_vocabulary - 1, (config.prefix_length, 1), generator=generator))
    features = torch.randn(config.prefix_length, config.condition_width, generator=generator)
    if config.condition == "features":
        return Condition(features)
    padding = int(torch.randint(config.prefix_length, (1,), generator=generator))
    shown = torch.arange(config.prefix_length) >= padding
    return Condition(features * shown[:, None], shown=shown)
