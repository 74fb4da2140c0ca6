"""What a decode runs on: models of several grids, one tokenizer, and the condition."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor, nn

from mulo_sd.reference.head import Head
from mulo_sd.reference.latent import LatentDownSampler, LatentUpSampler
from mulo_sd.reference.scaling import down_sample, up_sample
from mulo_sd.reference.settings import DownSampler, UpSampler
from mulo_sd.reference.tokenizer import ImageTokenizer
from mulo_sd.reference.transformer import Transformer, TransformerConfig

Scaler = TypeVar("Scaler", bound=nn.Module)


@dataclass(frozen=True)
class Models:
    """The models of a decode; all share the tokenizer.

    Attributes:
        target: Model 0.
        drafters: Models 1, 2 and so on, each with a coarser grid than the one before (CASCADE-1).
        tokenizer: From images to tokens and back.
        latent_up_samplers: By scale ratio; where there is none, `up_sampler = "latent"` is an error.
        latent_down_samplers: By scale ratio.
        head: Drafts from the target's hidden states; None where there is none.
        block: Drafts many tokens of the target's grid in one pass (`reference.block`); likewise.
    """

    target: Transformer
    drafters: tuple[Transformer, ...]
    tokenizer: ImageTokenizer
    latent_up_samplers: Mapping[int, LatentUpSampler] = field(default_factory=dict)
    latent_down_samplers: Mapping[int, LatentDownSampler] = field(default_factory=dict)
    head: Head | None = None
    block: Transformer | None = None

    def __post_init__(self) -> None:
        """Check that grids fit: each two have one scale ratio (GRID-1), what drafts for the target has its own.

        Raises:
            ValueError: they do not.
        """
        if self.head is not None:
            check_drafts_for(self.head.config, self.target.config, "head", self.target.config.vocabulary)
        if self.block is not None:
            check_drafts_for(self.block.config, self.target.config, "block", self.target.config.vocabulary + 1)
        for number in range(1, len(self.drafters) + 1):
            self.scale_ratio(number - 1, number)

    def transformer(self, number: int) -> Transformer:
        """Return model number `number`: 0 is the target (RNG-2).

        Raises:
            ValueError: there is no such model.
        """
        if not 0 <= number <= len(self.drafters):
            raise ValueError(f"drafters: expected models in 1..{len(self.drafters)}, got {number}")
        return self.drafters[number - 1] if number else self.target

    def scale_ratio(self, number: int, draft_number: int) -> int:
        """Return how many rows of model `number` there are for each row of the coarser `draft_number` (GRID-1).

        Raises:
            ValueError: the grids do not fit, or there is no such model.
        """
        high, low = self.transformer(number).config, self.transformer(draft_number).config
        ratio = high.grid_height // low.grid_height
        if (low.grid_height * ratio, low.grid_width * ratio) != (high.grid_height, high.grid_width):
            raise ValueError(
                f"grids: expected the target's to be a whole multiple of the drafter's, got "
                f"{high.grid_height} x {high.grid_width} and {low.grid_height} x {low.grid_width}"
            )
        return ratio

    def up_sample(self, name: UpSampler, tokens: Tensor, scale_ratio: int) -> Tensor:
        """Return U_r of low-resolution rows, Int[rows, w] -> Int[rows * r, w * r] (SCALE-1).

        Raises:
            ValueError: there is no latent up-sampler of that ratio.
        """
        if name == "latent":
            return _of_ratio(self.latent_up_samplers, scale_ratio, "up_sampler").tokens_from_tokens(tokens)
        return up_sample(self.tokenizer, tokens, scale_ratio, name)

    def down_sample(self, name: DownSampler, tokens: Tensor, scale_ratio: int) -> Tensor:
        """Return D_r of high-resolution rows, Int[rows, W] -> Int[rows / r, W / r] (SCALE-2).

        Raises:
            ValueError: there is no latent down-sampler of that ratio.
        """
        if name == "latent":
            return _of_ratio(self.latent_down_samplers, scale_ratio, "down_sampler").tokens_from_tokens(tokens)
        return down_sample(self.tokenizer, tokens, scale_ratio, name)


def check_drafts_for(config: TransformerConfig, target: TransformerConfig, name: str, vocabulary: int) -> None:
    """Check that what drafts on the target's own grid has its shape.

    Args:
        config: Of what drafts.
        target: Of the target.
        name: For messages.
        vocabulary: That it must have.

    Raises:
        ValueError: it has another.
    """
    shape = (config.grid_height, config.grid_width, config.prefix_length, config.vocabulary)
    expected = (target.grid_height, target.grid_width, target.prefix_length, vocabulary)
    if shape != expected:
        raise ValueError(
            f"{name}: expected rows, columns, prefix and vocabulary {', '.join(map(str, expected))}, "
            f"got {', '.join(map(str, shape))}; train one for this target"
        )
    if name == "head" and config.dim != target.dim:
        raise ValueError(f"head: expected the target's width {target.dim}, got {config.dim}; train one for this target")


def _of_ratio(scalers: Mapping[int, Scaler], scale_ratio: int, setting: str) -> Scaler:
    if scale_ratio not in scalers:
        there = ", ".join(map(str, sorted(scalers))) or "none"
        raise ValueError(f"{setting}: expected a latent one of ratio {scale_ratio}, got {there}; choose a filter")
    return scalers[scale_ratio]


@dataclass(frozen=True)
class Condition:
    """What a decode is asked to draw: Int[P, fields] or Float[P, width], by the kind of the models' conditions.

    Attributes:
        cond: The condition.
        uncond: Its null counterpart; None takes each model's own.
        shown: Bool[P], which prefix tokens exist for both halves; None is all of them. No image token sees the others
            (a caption's padding): they are not fed, the last one excepted (PREFILL).
    """

    cond: Tensor
    uncond: Tensor | None = None
    shown: Tensor | None = None

    def __post_init__(self) -> None:
        """Check that the prefix is not hidden as a whole (GRID-2).

        Raises:
            ValueError: it is, or `shown` has another length than the condition.
        """
        if self.shown is not None and (self.shown.shape != self.cond.shape[:1] or not bool(self.shown.any())):
            raise ValueError(f"condition: expected {len(self.cond)} marks of prefix tokens, one of them set at least")

    def prefixes(self, model: Transformer, guidance_scale: float) -> Tensor:
        """Return [B, P, fields or width] for a model: both with guidance, the conditional one alone without.

        Raises:
            ValueError: it does not fit the model, or there is no null condition and guidance asks for one.
        """
        config = model.config
        if len(self.cond) != config.prefix_length:
            raise ValueError(f"condition: expected {config.prefix_length} prefix tokens, got {len(self.cond)}")
        if guidance_scale == 1:
            return self.cond[None]
        uncond = model.null_condition() if self.uncond is None else self.uncond
        if uncond is None:
            raise ValueError("condition: expected a null condition for guidance, got none")
        return torch.stack([self.cond, uncond.to(self.cond.dtype)])

    def places(self) -> Tensor:
        """Return the positions that the prefill feeds, Int[n], ascending: those that exist, and the last."""
        if self.shown is None:
            return torch.arange(len(self.cond))
        fed = self.shown.clone()
        fed[-1] = True
        return fed.nonzero()[:, 0]

    def passing(self) -> Tensor:
        """Return the positions that the prefill feeds and no later pass sees, Int[n]: the last, where it is hidden."""
        is_hidden = self.shown is not None and not bool(self.shown[-1])
        return torch.tensor([len(self.cond) - 1] if is_hidden else [], dtype=torch.long)
