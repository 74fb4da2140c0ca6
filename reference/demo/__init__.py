"""The demo world: captioned scenes, their evaluator, and the models trained on them."""

from mulo_sd.reference.demo.models import condition, load, with_latent_samplers

__all__ = ["condition", "load", "with_latent_samplers"]
