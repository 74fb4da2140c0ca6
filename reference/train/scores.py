"""The scores of a tokenizer: how well held-out pictures come back."""

from collections.abc import Sequence

import torch

from mulo_sd.reference.tokenizer import ImageTokenizer
from mulo_sd.reference.train.examples import TOGETHER, Examples, images_of

PICTURES = 64


@torch.inference_mode()
def tokenizer_scores(
    tokenizer: ImageTokenizer, examples: Examples, sides: Sequence[int], count: int = PICTURES
) -> dict[str, float]:
    """Return the mean PSNR in dB of held-out pictures at the size of each grid.

    Args:
        tokenizer: To judge.
        examples: Whose held-out pictures count.
        sides: Of the grids, in cells.
        count: Pictures.
    """
    scores = {}
    device = tokenizer.codebook.device
    for size in sorted(side * tokenizer.config.factor for side in sides):
        psnr = []
        for first in range(0, count, TOGETHER):
            part = [examples.held_out(index) for index in range(first, min(first + TOGETHER, count))]
            images = images_of(part, size).to(device)
            decoded = tokenizer.images_from_tokens(tokenizer.tokens_from_images(images))
            psnr.append(10 * torch.log10(4 / ((decoded - images) ** 2).mean(dim=(1, 2, 3))))
        scores[f"psnr_db_{size}px"] = round(float(torch.cat(psnr).mean()), 2)
    return scores
