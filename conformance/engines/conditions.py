"""Conditions of any models, for both sides: a prompt of the demo, or numbers that a prompt's text seeds."""

import zlib

import torch

from mulo_sd import engines
from mulo_sd.engines.prompts.prefix import PREFIX_LENGTH, PREFIX_VOCABULARY
from mulo_sd.reference import demo
from mulo_sd.reference.models import Condition, Models
from mulo_sd.reference.random_weights import random_condition


def condition_of(models: Models, prompt: str, seed: int) -> Condition:
    """Return a condition that models take: the demo's of a prompt, or for other models a random one of its own.

    Args:
        models: For whose target.
        prompt: In the demo's grammar; for other models a name of the condition and no more.
        seed: Of what the prompt leaves open.
    """
    config = models.target.config
    prefix = (config.condition, config.prefix_length, config.prefix_vocabulary)
    if prefix == ("fields", PREFIX_LENGTH, PREFIX_VOCABULARY):
        return demo.condition(prompt, seed)
    generator = torch.Generator().manual_seed(zlib.crc32(prompt.encode()))
    return random_condition(config, generator)


def engine_condition(condition: Condition) -> engines.Condition:
    """Return a condition in numpy."""
    parts = (condition.cond, condition.uncond, condition.shown)
    return engines.Condition(*(None if part is None else part.numpy() for part in parts))  # type: ignore[arg-type]  # cond is there
