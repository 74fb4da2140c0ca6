"""Scores by task: shares of what was asked for, and pictures that are drawn for them."""

import numpy as np
import torch
from numpy.typing import NDArray

from mulo_sd.reference.batch import decode_batch
from mulo_sd.reference.images import pixels_from_images
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.task_scores import TOGETHER, Asked, drawn_scores, score_per_task
from mulo_sd.reference.tokenizer import Tokenizer
from mulo_sd.reference.transformer import Transformer

NULL = np.zeros((12, 1), dtype=np.int64)


def is_bright(image: NDArray[np.uint8]) -> bool:
    return bool(image.mean() > 127)


def test_shares_are_of_each_task_and_of_all() -> None:
    asked = [Asked(task, NULL, is_bright) for task in ("count", "count", "place", "count", "count")]
    images = [np.full((4, 4, 3), value, np.uint8) for value in (255, 0, 255, 255, 0)]
    assert score_per_task(asked, images) == {"count": 0.5, "place": 1.0, "overall": 0.6}


@torch.inference_mode()
def test_every_scene_is_drawn_with_its_own_condition_and_seed(
    tiny_transformer: Transformer, tiny_tokenizer: Tokenizer
) -> None:
    """Also of the last few, which are fewer than are drawn at a time."""
    torch.nn.init.normal_(tiny_transformer.output.weight, generator=torch.Generator().manual_seed(0))
    shown: list[NDArray[np.uint8]] = []

    def holds(image: NDArray[np.uint8]) -> bool:
        shown.append(image)
        return True

    asked = [Asked("any", np.full((12, 1), 3 + index, np.int64), holds) for index in range(TOGETHER + 2)]
    settings = Settings(guidance_scale=2.0, top_k=8)
    scores = drawn_scores(tiny_transformer, tiny_tokenizer, asked, NULL, settings, 1)
    assert scores == {"any": 1.0, "overall": 1.0}
    for index in (0, TOGETHER + 1):
        condition = torch.from_numpy(asked[index].condition)[None]
        tokens = decode_batch(
            tiny_transformer, condition, torch.from_numpy(NULL), [index], 2.0, top_k=8, model_number=1
        )
        alone = pixels_from_images(tiny_tokenizer.images_from_tokens(tokens))[0].numpy()
        assert np.array_equal(shown[index], alone)
    assert len({image.tobytes() for image in shown}) > 10
