"""Whether weights that lie in one folder belong together: grids, codes, prefixes, samplers, tokens of a picture."""

from collections.abc import Mapping
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from mulo_sd.reference.latent import LatentScaler
from mulo_sd.reference.tokenizer import ImageTokenizer
from mulo_sd.reference.transformer import Transformer
from mulo_sd.reference.weights import WeightsError

CODES_TOLERANCE = 2e-3  # weights are kept in float16: the same code comes back within its rounding


def check_transformer(model: Transformer, path: Path, prefix_length: int, codes: int) -> None:
    """Check that a transformer takes captions' ids, and draws the tokenizer's codes.

    Args:
        model: The target, a drafter, or what drafts many tokens in one pass.
        path: For messages.
        prefix_length: Ids of a prefix.
        codes: Its vocabulary.

    Raises:
        WeightsError: it does not.
    """
    config = model.config
    if config.condition != "fields":
        raise WeightsError(f"{path}: expected a model that takes ids of captions, got one of kind {config.condition}")
    for what, expected, got in (
        ("prefix tokens", prefix_length, config.prefix_length),
        ("codes, as the tokenizer has", codes, config.vocabulary),
    ):
        if got != expected:
            raise WeightsError(f"{path}: expected {expected} {what}, got {got}; it is of another training")


def check_grids(models: Mapping[Path, Transformer]) -> None:
    """Check that each grid divides the one before it.

    Args:
        models: The target, then the drafters from the finest to the coarsest.

    Raises:
        WeightsError: one does not.
    """
    above: tuple[int, int] | None = None
    for path, model in models.items():
        grid = (model.config.grid_height, model.config.grid_width)
        if above is not None:
            ratio = above[0] // grid[0]
            if ratio < 2 or (grid[0] * ratio, grid[1] * ratio) != above:
                raise WeightsError(
                    f"{path}: expected a coarser grid of which {above[0]} x {above[1]} is a whole multiple, got "
                    f"{grid[0]} x {grid[1]}"
                )
        above = grid


def check_sampler(sampler: LatentScaler, path: Path, ratio: int, tokenizer: ImageTokenizer) -> None:
    """Check that a latent sampler is of the tokenizer's codes, and of the ratio that its file's name says.

    Raises:
        WeightsError: it is not.
    """
    if sampler.config.scale_ratio != ratio:
        raise WeightsError(f"{path}: expected a sampler of ratio {ratio}, got {sampler.config.scale_ratio}")
    expected = F.normalize(tokenizer.codebook, dim=-1)
    if sampler.codebook.shape != expected.shape or not sampler.codebook.allclose(expected, atol=CODES_TOLERANCE):
        raise WeightsError(f"{path}: expected a sampler of this tokenizer's codes, got another's; train one for it")


def check_tokens(tokens: Tensor, path: Path, model: Transformer, name: str) -> None:
    """Check the tokens of a picture on a model's grid.

    Raises:
        WeightsError: they are no grid of its codes.
    """
    config = model.config
    shape = (config.grid_height, config.grid_width)
    is_right = tuple(tokens.shape) == shape and not tokens.is_floating_point()
    if not is_right or int(tokens.min()) < 0 or int(tokens.max()) >= config.vocabulary:
        raise WeightsError(
            f"{path}: {name}: expected {shape[0]} x {shape[1]} whole numbers in 0..{config.vocabulary - 1}, got others"
        )
