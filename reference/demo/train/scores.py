"""The scores on a model card: held-out scenes, judged by the evaluator."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from mulo_sd.engines.prompts.prefix import null_prefix, prefix_from_plan
from mulo_sd.engines.prompts.vocabulary import TASKS
from mulo_sd.reference.batch import decode_batch
from mulo_sd.reference.demo.evaluate import prompt_holds
from mulo_sd.reference.demo.models import RECOMMENDED
from mulo_sd.reference.demo.scenes import HELD_OUT_SPLIT, Scene, held_out_scenes, scene
from mulo_sd.reference.images import images_from_pixels, pixels_from_images
from mulo_sd.reference.tokenizer import ImageTokenizer
from mulo_sd.reference.transformer import Transformer

SCORE_BATCH = 40
PSNR_SCENES = 64


def score_per_task(scenes: Sequence[Scene], images: Sequence[NDArray[np.uint8]]) -> dict[str, float]:
    """Return the share of images in which the prompt holds, for each task and overall."""
    held: dict[str, list[bool]] = {task: [] for task in TASKS}
    for item, image in zip(scenes, images, strict=True):
        held[item.prompt.task].append(prompt_holds(item.prompt, image))
    scores = {task: float(np.mean(values)) for task, values in held.items() if values}
    return scores | {"overall": float(np.mean([value for values in held.values() for value in values]))}


@torch.inference_mode()
def tokenizer_scores(tokenizer: ImageTokenizer) -> dict[str, float]:
    """Return the mean PSNR in dB of held-out scenes at every size."""
    scores = {}
    for size in (32, 64, 128):
        pixels = np.stack([scene(index, HELD_OUT_SPLIT).render(size) for index in range(PSNR_SCENES)])
        images = images_from_pixels(torch.from_numpy(pixels))
        decoded = tokenizer.images_from_tokens(tokenizer.tokens_from_images(images))
        squared = ((decoded - images) ** 2).mean(dim=(1, 2, 3))
        scores[f"psnr_db_{size}px"] = round(float((10 * torch.log10(4 / squared)).mean()), 2)
    return scores


def _conditions(scenes: Sequence[Scene]) -> Tensor:
    return torch.from_numpy(np.stack([prefix_from_plan(item.prompt, item.plan) for item in scenes]))


@torch.inference_mode()
def autoregressive_scores(model: Transformer, tokenizer: ImageTokenizer, per_task: int) -> dict[str, float]:
    """Decode `per_task` held-out prompts a task autoregressively, as recommended, and return the scores."""
    scenes = list(held_out_scenes(per_task))
    number = {32: 0, 16: 1, 8: 2}[model.config.grid_height]
    images: list[NDArray[np.uint8]] = []
    batches = range(0, len(scenes), SCORE_BATCH)
    for first in track(batches, description="scoring"):
        part = scenes[first : first + SCORE_BATCH]
        seeds = list(range(first, first + len(part)))
        tokens = decode_batch(
            model,
            _conditions(part),
            torch.from_numpy(null_prefix()),
            seeds,
            RECOMMENDED.guidance_scale,
            RECOMMENDED.temperature,
            RECOMMENDED.top_k,
            RECOMMENDED.top_p,
            model_number=number,
        )
        images += list(pixels_from_images(tokenizer.images_from_tokens(tokens)).numpy())
    return score_per_task(scenes, images)
