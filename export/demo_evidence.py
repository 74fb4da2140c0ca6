"""Real inputs of the demo for comparing graphs with the reference."""

import torch

from mulo_sd.export.evidence import Evidence, gather_evidence
from mulo_sd.reference import demo
from mulo_sd.reference.demo.scenes import HELD_OUT_SPLIT, scene
from mulo_sd.reference.images import images_from_pixels
from mulo_sd.reference.models import Models

PROMPT = "a red circle left of a blue square"


@torch.inference_mode()
def demo_evidence(models: Models, neighbours: torch.Tensor) -> Evidence:
    """Decode a prompt and tokenise a held-out scene with the float32 reference."""
    tokens = []
    for config in (model.config for model in (models.target, *models.drafters)):
        factor = models.tokenizer.config.factor
        square = scene(0, HELD_OUT_SPLIT).render(max(config.grid_height, config.grid_width) * factor)
        pixels = square[: config.grid_height * factor, : config.grid_width * factor]
        tokens.append(models.tokenizer.tokens_from_images(images_from_pixels(torch.from_numpy(pixels)[None]))[0])
    return gather_evidence(models, demo.condition(PROMPT), tuple(tokens), neighbours)
