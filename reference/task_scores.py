"""How well a model draws: the share of held-out scenes of each task of which its images show what was asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from mulo_sd.reference.batch import decode_batch
from mulo_sd.reference.images import pixels_from_images
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.tokenizer import ImageTokenizer
from mulo_sd.reference.transformer import Transformer

TOGETHER = 40  # images that are drawn at a time


@dataclass(frozen=True)
class Asked:
    """A held-out scene to draw.

    Attributes:
        task: Whose share it counts in.
        condition: Int[P, fields], what asks for it.
        holds: Whether an image, UInt8[S, S, 3], shows it.
    """

    task: str
    condition: NDArray[np.int64]
    holds: Callable[[NDArray[np.uint8]], bool]


def score_per_task(asked: Sequence[Asked], images: Sequence[NDArray[np.uint8]]) -> dict[str, float]:
    """Return the share of images that show what was asked for, for each task in its order, and overall."""
    held: dict[str, list[bool]] = {}
    for item, image in zip(asked, images, strict=True):
        held.setdefault(item.task, []).append(item.holds(image))
    overall = [value for values in held.values() for value in values]
    return {task: float(np.mean(values)) for task, values in held.items()} | {"overall": float(np.mean(overall))}


@torch.inference_mode()
def drawn_scores(
    model: Transformer,
    tokenizer: ImageTokenizer,
    asked: Sequence[Asked],
    null: NDArray[np.int64],
    settings: Settings,
    model_number: int,
) -> dict[str, float]:
    """Draw scenes autoregressively, number `n` with seed `n`, and return `score_per_task`.

    Args:
        model: Target or drafter.
        tokenizer: Lies where the model does.
        asked: What to draw; at least one.
        null: Int[P, fields], the condition that asks for nothing.
        settings: Guidance, temperature, top-k and top-p.
        model_number: 0 for the target: selects the noise (RNG-2).
    """
    images: list[NDArray[np.uint8]] = []
    for first in track(range(0, len(asked), TOGETHER), description="scoring"):
        part = asked[first : first + TOGETHER]
        tokens = decode_batch(
            model,
            torch.from_numpy(np.stack([item.condition for item in part])),
            torch.from_numpy(null),
            list(range(first, first + len(part))),
            settings.guidance_scale,
            settings.temperature,
            settings.top_k,
            settings.top_p,
            model_number=model_number,
        )
        images += list(pixels_from_images(tokenizer.images_from_tokens(tokens)).cpu().numpy())
    return score_per_task(asked, images)
