"""What the table of a bundle's modes takes from `reference`: held-out prompts, and eager autoregressive decoding."""

import dataclasses
import time

import numpy as np
import torch
from numpy.typing import NDArray

from mulo_sd.conformance.bench.workload import Drawing
from mulo_sd.conformance.worlds.world import World
from mulo_sd.engines.service.pipeline import Pipeline
from mulo_sd.engines.settings import Settings
from mulo_sd.reference.decode import decode
from mulo_sd.reference.images import pixels_from_images
from mulo_sd.reference.models import Condition
from mulo_sd.reference.settings import Settings as ReferenceSettings
from mulo_sd.reference.weights import weights_sha256


def held_out_drawings(world: World, count: int) -> list[Drawing]:
    """Return prompts that a world's models were not trained on, task after task in turn, with their layouts."""
    drawn = []
    for number in range(count):
        index, task_number = divmod(number, len(world.tasks))
        item = world.held_out_prompt(task_number, index)
        drawn.append(Drawing(item.text, number, item.plan))
    return drawn


def shipped_weights(world: World) -> str:
    """Return the hash of the shipped target's weights, as a bundle records it."""
    return weights_sha256(world.models().target)


class EagerReference:
    """The reference's autoregressive decoding in eager PyTorch, over its own KV cache, with a world's models."""

    def __init__(self, world: World, pipeline: Pipeline, threads: int | None) -> None:
        """Load the models.

        Args:
            world: Whose.
            pipeline: Of the same weights; it makes the conditions.
            threads: None leaves PyTorch's own choice.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        self.models, self.pipeline = world.models(), pipeline

    @torch.inference_mode()
    def draw(self, drawing: Drawing, settings: Settings) -> tuple[NDArray[np.uint8], float, int]:
        """Draw an image one token a pass; return pixels UInt8[S, S, 3], seconds, and passes."""
        described = drawing.condition_of(self.pipeline)
        null = self.pipeline.bundle.null_conditions[0] if described.uncond is None else described.uncond
        condition = Condition(torch.from_numpy(described.cond), None if null is None else torch.from_numpy(null))
        known = {field.name for field in dataclasses.fields(ReferenceSettings)}
        chosen = ReferenceSettings(**{name: value for name, value in settings.model_dump().items() if name in known})
        started = time.perf_counter()
        decoded = decode(self.models, condition, dataclasses.replace(chosen, mode="ar"), drawing.seed)
        images = self.models.tokenizer.images_from_tokens(decoded.tokens[None])
        pixels: NDArray[np.uint8] = pixels_from_images(images)[0].numpy()
        return pixels, time.perf_counter() - started, decoded.nfe_target
