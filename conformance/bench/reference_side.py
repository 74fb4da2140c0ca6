"""What the demo's table takes from `reference`: held-out scenes, the score, and eager autoregressive decoding."""

import dataclasses
import time

import numpy as np
import torch
from numpy.typing import NDArray

from mulo_sd.conformance.bench.workload import Drawing
from mulo_sd.engines.prompts.vocabulary import TASKS
from mulo_sd.engines.settings import Settings
from mulo_sd.reference import demo
from mulo_sd.reference.decode import decode
from mulo_sd.reference.demo import scenes
from mulo_sd.reference.demo.evaluate import prompt_holds
from mulo_sd.reference.images import pixels_from_images
from mulo_sd.reference.settings import Settings as ReferenceSettings
from mulo_sd.reference.weights import weights_sha256


def held_out_drawings(count: int) -> list[Drawing]:
    """Return prompts that the demo was not trained on, task after task in turn, with their layouts."""
    drawn = []
    for number in range(count):
        scene = scenes.scene(number // len(TASKS), scenes.HELD_OUT_SPLIT, TASKS[number % len(TASKS)])
        drawn.append(Drawing(scene.prompt.text, number, scene.plan, scene.prompt))
    return drawn


def shipped_weights() -> str:
    """Return the hash of the shipped target's weights, as a bundle records it."""
    return weights_sha256(demo.load().target)


def holds(drawing: Drawing, pixels: NDArray[np.uint8]) -> bool:
    """Whether an image, UInt8[S, S, 3], shows what its prompt asks for."""
    assert drawing.prompt is not None
    return prompt_holds(drawing.prompt, pixels)


class EagerReference:
    """The reference's autoregressive decoding in eager PyTorch, over its own KV cache, with the demo's weights."""

    def __init__(self, threads: int | None) -> None:
        """Load the models.

        Args:
            threads: None leaves PyTorch's own choice.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        self.models = demo.load()

    @torch.inference_mode()
    def draw(self, drawing: Drawing, settings: Settings) -> tuple[NDArray[np.uint8], float, int]:
        """Draw an image one token a pass; return pixels UInt8[S, S, 3], seconds, and passes."""
        condition = demo.condition(drawing.text, drawing.seed, drawing.plan)
        known = {field.name for field in dataclasses.fields(ReferenceSettings)}
        chosen = ReferenceSettings(**{name: value for name, value in settings.model_dump().items() if name in known})
        started = time.perf_counter()
        decoded = decode(self.models, condition, dataclasses.replace(chosen, mode="ar"), drawing.seed)
        images = self.models.tokenizer.images_from_tokens(decoded.tokens[None])
        pixels: NDArray[np.uint8] = pixels_from_images(images)[0].numpy()
        return pixels, time.perf_counter() - started, decoded.nfe_target
