"""Training of drafter and target: next-token prediction on the tokens of captioned pictures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mulo_sd.reference.batch import decode_batch
from mulo_sd.reference.images import pixels_from_images
from mulo_sd.reference.tokenizer import ImageTokenizer
from mulo_sd.reference.train.context import RescaledContext
from mulo_sd.reference.train.devices import mixed_precision
from mulo_sd.reference.train.examples import Example, Examples, check_codes, conditions_of, images_of, tokens_of
from mulo_sd.reference.train.optimizers import Optimizers
from mulo_sd.reference.train.pictures import save_grid
from mulo_sd.reference.train.schedule import DECAY_SHARE
from mulo_sd.reference.train.starting_settings import STARTING_SETTINGS
from mulo_sd.reference.train.warm_start import warm_tensors
from mulo_sd.reference.train.windows import Windows
from mulo_sd.reference.train.workers import Workers
from mulo_sd.reference.transformer import Transformer, TransformerConfig

CONDITION_DROPOUT = 0.1
SHOWN = 12  # pictures of a sample


class NextToken(nn.Module):
    """A transformer and its loss, in one module that may be compiled, or shared by workers."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, prefixes: Tensor, tokens: Tensor, contexts: Tensor, weights: Tensor, cells: Tensor, total: Tensor
    ) -> tuple[Tensor, ...]:
        """Return the weighted loss in nats a token, and the shares of tokens, and of heavier ones, that are exact.

        Args:
            prefixes: Int[b, P, fields].
            tokens: Int[b, 1 + n], to predict: the first of the picture, and the one after each that is fed.
            contexts: Int[b, n], to feed.
            weights: Float[b, 1 + n], of their losses.
            cells: Int[b, n], where those that are fed stand in raster order.
            total: What the weights sum to; of a batch that workers share, the mean of their sums.
        """
        length = self.model.config.prefix_length
        before = torch.arange(length, device=tokens.device)[None].expand(len(tokens), -1)
        positions = torch.cat([before, length + cells], dim=1)
        with mixed_precision(tokens.device):
            embeddings = torch.cat(
                [self.model.prefix_embeddings(prefixes), self.model.token_embeddings(contexts)], dim=1
            )
            logits = self.model(embeddings, positions)[:, length - 1 :]
        each = F.cross_entropy(logits.float().flatten(0, 1), tokens.flatten(), reduction="none")
        loss = (each * weights.flatten()).sum() / total
        correct = (logits.detach().argmax(-1) == tokens).float()
        heavier = (weights > 1).float()
        return loss, correct.mean(), (correct * heavier).sum() / heavier.sum().clamp(min=1)


class AutoregressiveTrainee:
    """A transformer in training: Muon for the blocks' matrices, AdamW for the rest."""

    def __init__(
        self,
        config: TransformerConfig,
        tokenizer: ImageTokenizer,
        examples: Examples,
        seed: int,
        batch: int,
        matrix_rate: float,
        context: RescaledContext,
        focus_weight: float = 1.0,
        windows: Windows = Windows(),  # noqa: B008  (it is frozen, like the next one)
        workers: Workers = Workers(),  # noqa: B008
        compiled: bool = False,
        decay_share: float = DECAY_SHARE,
        shown: Callable[[int], Example] | None = None,
    ) -> None:
        """Prepare a model with random weights.

        Args:
            config: Its size; one grid of the tokenizer's codes.
            tokenizer: Frozen.
            examples: To learn from.
            seed: Of weights and examples.
            batch: Images a step, of all workers together.
            matrix_rate: Peak learning rate of the blocks' matrices.
            context: What of other resolutions it sees.
            focus_weight: Of the cells that a caption speaks of, in the loss.
            windows: Parts of pictures that it sees at first.
            workers: This process among those that share every batch, and its device.
            compiled: Compile the passes first.
            decay_share: Of the steps, in how many of the last the rates fall.
            shown: Pictures that are drawn beside the model's, by number; by default those that are held out.

        Raises:
            ValueError: the tokenizer has another number of codes.
        """
        check_codes(tokenizer, config)
        torch.manual_seed(seed)
        self.focus_weight, self.context, self.examples = focus_weight, context, examples
        self.windows, self.shown = windows, shown or examples.held_out
        self.seed, self.batch, self.workers = seed, batch, workers
        self.tokenizer = tokenizer.eval().to(workers.device)
        self.model = Transformer(config)
        self._initialise()
        self.model.to(workers.device)
        matrices = [weight for weight in self.model.layers.parameters() if weight.ndim == 2]
        chosen = {id(weight) for weight in matrices}
        rest = [weight for weight in self.model.parameters() if id(weight) not in chosen]
        self.optimizers = Optimizers(matrices, rest, matrix_rate, decay_share)
        loss: Callable[..., tuple[Tensor, ...]] = workers.shared(NextToken(self.model))
        self.loss = torch.compile(loss) if compiled else loss

    def _initialise(self) -> None:
        for name, weight in self.model.named_parameters():
            if weight.ndim == 2:
                torch.nn.init.normal_(weight, std=0.02)
            if name.endswith(("wo.weight", "w2.weight", "output.weight")):
                torch.nn.init.zeros_(weight)

    def warm_start(self, other: Transformer) -> None:
        """Take over the weights of another model, as far as they mean the same here.

        Raises:
            ValueError: its layers do not fit.
        """
        self.model.load_state_dict(warm_tensors(self.model, other))

    @property
    def config(self) -> TransformerConfig:
        return self.model.config

    def state_dict(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizers": self.optimizers.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizers.load_state_dict(state["optimizers"])

    @torch.no_grad()
    def _batch(self, step: int, in_windows: bool = False) -> tuple[Tensor, ...]:
        """Return this worker's share of step `step`: what `NextToken` takes but for the total."""
        first = (self.seed << 40) + step * self.batch * self.windows.pictures
        count = self.batch * (self.windows.pictures if in_windows else 1)
        share = self.workers.share(count)
        dropped = np.random.default_rng([self.seed, step, 0x44524F50]).random(count) < CONDITION_DROPOUT
        dropped = dropped[share.start : share.stop]
        examples = [self.examples.training(first + index) for index in share]
        side = self.model.config.grid_height
        tokens = tokens_of(self.tokenizer, examples, side)
        contexts = [
            self.context.mixed(self.tokenizer, item, own, np.random.default_rng([self.seed, first + index, 0x4D495845]))
            for index, item, own in zip(share, examples, tokens, strict=True)
        ]
        focus = [self._focus(item, bool(drop), side) for item, drop in zip(examples, dropped, strict=True)]
        cells = [
            self.windows.fed(own, np.random.default_rng([self.seed, first + index, 0x57494E44]))
            if in_windows
            else np.arange(side * side - 1)
            for index, own in zip(share, focus, strict=True)
        ]
        weights = np.where(np.stack(focus), self.focus_weight, 1.0).astype(np.float32)
        return self._placed(examples, dropped, tokens, torch.stack(contexts), weights, np.stack(cells))

    def _placed(
        self,
        examples: list[Example],
        dropped: NDArray[np.bool_],
        tokens: Tensor,
        contexts: Tensor,
        weights: NDArray[np.float32],
        cells: NDArray[np.int64],
    ) -> tuple[Tensor, ...]:
        """Return what `NextToken` takes but for the total, of whole grids and the cells to feed, Int[b, n]."""
        prefixes = conditions_of(examples, self.examples.null_condition(), dropped)
        device = self.workers.device
        fed = torch.from_numpy(cells).to(device)
        predicted = F.pad(fed + 1, (1, 0))
        return (
            prefixes.to(device),
            tokens.flatten(1).gather(1, predicted),
            contexts.flatten(1).gather(1, fed),
            torch.from_numpy(weights).flatten(1).to(device).gather(1, predicted),
            fed,
        )

    def _focus(self, item: Example, dropped: bool, side: int) -> NDArray[np.bool_]:
        """Return which cells weigh `focus_weight` times, and what windows show: those that a caption speaks of.

        Most of an image is background, whose tokens are noisy; the objects are what has to be learned. A weight
        that depends on where they stand alone leaves the best prediction of every cell what it was. Without a
        condition all cells weigh the same: where the objects are would tell what the tokens are.
        """
        return np.zeros((side, side), dtype=np.bool_) if dropped else item.focus(side)

    def step(self, step: int, steps: int) -> dict[str, float]:
        """Take one step; metrics: weighted loss in nats a token, share of tokens (of objects) predicted exactly."""
        batch = self._batch(step, self.windows.at(step, steps))
        total = self.workers.mean(batch[3].sum())
        loss, accuracy, focus_accuracy = self.loss(*batch, total)
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        self.optimizers.step(step, steps)
        metrics = {"loss": float(loss.detach()), "accuracy": float(accuracy)}
        return metrics | ({"focus_accuracy": float(focus_accuracy)} if self.focus_weight > 1 else {})

    @torch.no_grad()
    def held_out_loss(self, count: int) -> float:
        """Return the mean loss in nats a token on the first `count` held-out examples, all cells alike."""
        sums = 0.0
        for first in range(0, count, self.batch):
            examples = [self.examples.held_out(index) for index in range(first, min(first + self.batch, count))]
            tokens = tokens_of(self.tokenizer, examples, self.model.config.grid_height)
            ones = np.ones(tokens.shape, dtype=np.float32)
            none_dropped = np.zeros(len(examples), dtype=np.bool_)
            cells = np.tile(np.arange(ones[0].size - 1), (len(examples), 1))
            batch = self._placed(examples, none_dropped, tokens, tokens, ones, cells)
            sums += float(NextToken(self.model)(*batch, batch[3].sum())[0]) * len(examples)
        return sums / count

    @torch.no_grad()
    def draw(self, path: Path) -> None:
        """Draw captions, decoded autoregressively, below their true pictures."""
        examples = [self.shown(index) for index in range(SHOWN)]
        null = self.examples.null_condition()
        cond = conditions_of(examples, null, [False] * SHOWN)
        guidance, temperature = STARTING_SETTINGS.guidance_scale, STARTING_SETTINGS.temperature
        seeds = list(range(SHOWN))
        tokens = decode_batch(self.model, cond, torch.from_numpy(null), seeds, guidance, temperature)
        images = pixels_from_images(self.tokenizer.images_from_tokens(tokens)).cpu().numpy()
        truth = pixels_from_images(images_of(examples, images.shape[1])).numpy()
        half = SHOWN // 2
        rows = np.concatenate([truth[:half], images[:half], truth[half:], images[half:]])
        captions, none = [getattr(item, "caption", None) or "" for item in examples], [""] * half
        titles = [*captions[:half], *none, *captions[half:], *none] if any(captions) else None
        save_grid(rows, half, path, max(1, 256 // images.shape[1]), titles)
