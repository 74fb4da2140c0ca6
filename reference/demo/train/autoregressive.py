"""Training of drafter and target: next-token prediction on the tokens of rendered scenes."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mulo_sd.engines.prompts.prefix import null_prefix, prefix_from_plan
from mulo_sd.reference.batch import decode_batch
from mulo_sd.reference.demo.scenes import Scene, held_out_scenes, scene
from mulo_sd.reference.demo.train.context import RescaledContext
from mulo_sd.reference.demo.train.examples import scene_prefixes, scene_tokens
from mulo_sd.reference.demo.train.optimizers import Optimizers
from mulo_sd.reference.demo.train.pictures import save_grid
from mulo_sd.reference.demo.train.workers import Workers
from mulo_sd.reference.images import pixels_from_images
from mulo_sd.reference.tokenizer import Tokenizer
from mulo_sd.reference.transformer import Transformer, TransformerConfig

CONDITION_DROPOUT = 0.1
PICTURE_GUIDANCE = 1.2


class AutoregressiveTrainee:
    """A transformer in training: Muon for the blocks' matrices, AdamW for the rest."""

    def __init__(
        self,
        config: TransformerConfig,
        tokenizer: Tokenizer,
        seed: int,
        batch: int,
        matrix_rate: float,
        workers: Workers,
        object_weight: float,
        context: RescaledContext,
        compiled: bool = False,
    ) -> None:
        torch.manual_seed(seed)
        self.object_weight, self.context = object_weight, context
        self.seed, self.batch, self.workers = seed, batch, workers
        self.tokenizer = tokenizer.eval()
        self.model = Transformer(config)
        self._initialise()
        matrices = [weight for weight in self.model.layers.parameters() if weight.ndim == 2]
        chosen = {id(weight) for weight in matrices}
        rest = [weight for weight in self.model.parameters() if id(weight) not in chosen]
        self.optimizers = Optimizers(matrices, rest, matrix_rate)
        self.loss = torch.compile(self._loss) if compiled else self._loss

    def _initialise(self) -> None:
        for name, weight in self.model.named_parameters():
            if weight.ndim == 2:
                torch.nn.init.normal_(weight, std=0.02)
            if name.endswith(("wo.weight", "w2.weight", "output.weight")):
                torch.nn.init.zeros_(weight)

    def warm_start(self, other: Transformer) -> None:
        """Take over the weights of another model, its learned positions resized to this one's grid."""
        state = other.state_dict()
        ours, theirs = self.model.config, other.config
        learned = state["abs_pe"]
        coarse = learned[theirs.prefix_length :].t().reshape(1, -1, theirs.grid_height, theirs.grid_width)
        fine = F.interpolate(coarse, (ours.grid_height, ours.grid_width), mode="bilinear", align_corners=False)
        state["abs_pe"] = torch.cat([learned[: theirs.prefix_length], fine[0].flatten(1).t()])
        self.model.load_state_dict(state)

    def state_dict(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizers": self.optimizers.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizers.load_state_dict(state["optimizers"])

    @torch.no_grad()
    def _batch(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return this worker's share of step `step`.

        Returns:
            Prefixes Int[b, P, fields], the tokens to predict and those to predict them from, Int[b, H * W] each,
            and the weights of their losses Float[b, H * W].
        """
        first = (self.seed << 40) + step * self.batch
        share = self.workers.share(self.batch)
        scenes = [scene(first + index) for index in share]
        tokens = scene_tokens(self.tokenizer, scenes, self.model.config.grid_height)
        contexts = [
            self.context.mixed(self.tokenizer, item, own, np.random.default_rng([self.seed, first + index, 0x4D495845]))
            for index, item, own in zip(share, scenes, tokens, strict=True)
        ]
        dropped = np.random.default_rng([self.seed, step, 0x44524F50]).random(self.batch) < CONDITION_DROPOUT
        dropped = dropped[share.start : share.stop]
        # Without a condition all cells weigh the same: where the objects are would tell what the tokens are.
        weights = [
            np.ones(tokens[0].numel(), dtype=np.float32) if drop else self._weights(item)
            for item, drop in zip(scenes, dropped, strict=True)
        ]
        return (
            scene_prefixes(scenes, dropped),
            tokens.flatten(1),
            torch.stack(contexts).flatten(1),
            torch.from_numpy(np.stack(weights)),
        )

    def _weights(self, item: Scene) -> NDArray[np.float32]:
        """Weigh the cells of planned objects `object_weight` times.

        Most of an image is background, whose tokens are noisy; the objects are what has to be learned. A weight
        that depends on the plan alone leaves the best prediction of every cell what it was.
        """
        height, width = self.model.config.grid_height, self.model.config.grid_width
        y, x = (np.mgrid[:height, :width] + 0.5) / height
        inside = np.zeros((height, width), dtype=np.bool_)
        for planned in item.plan.objects:
            reach = 1.25 * planned.radius + 1 / height
            inside |= np.maximum(np.abs(x - planned.centre[0]), np.abs(y - planned.centre[1])) <= reach
        return np.where(inside, self.object_weight, 1.0).astype(np.float32).ravel()

    def _loss(
        self, prefixes: Tensor, tokens: Tensor, contexts: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        positions = torch.arange(self.model.config.sequence_length - 1)[None].expand(len(tokens), -1)
        with torch.autocast("cpu", torch.bfloat16):
            embeddings = torch.cat(
                [self.model.prefix_embeddings(prefixes), self.model.token_embeddings(contexts[:, :-1])], dim=1
            )
            logits = self.model(embeddings, positions)[:, self.model.config.prefix_length - 1 :]
        each = F.cross_entropy(logits.float().flatten(0, 1), tokens.flatten(), reduction="none")
        loss = (each * weights.flatten()).sum() / weights.sum()
        correct = (logits.detach().argmax(-1) == tokens).float()
        on_objects = (weights > 1).float()
        object_accuracy = (correct * on_objects).sum() / on_objects.sum().clamp(min=1)
        return loss, correct.mean(), object_accuracy

    def step(self, step: int, steps: int) -> dict[str, float]:
        """Take one step; metrics: weighted loss in nats a token, share of tokens (of objects) predicted exactly."""
        loss, accuracy, object_accuracy = self.loss(*self._batch(step))
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        self.workers.average_gradients(self.model)
        self.optimizers.step(step, steps)
        return {"loss": float(loss.detach()), "accuracy": float(accuracy), "object_accuracy": float(object_accuracy)}

    @torch.no_grad()
    def draw(self, path: Path) -> None:
        """Draw twelve held-out prompts, two a task, decoded autoregressively."""
        scenes = list(held_out_scenes(2))
        cond = torch.from_numpy(np.stack([prefix_from_plan(item.prompt, item.plan) for item in scenes]))
        tokens = decode_batch(
            self.model, cond, torch.from_numpy(null_prefix()), list(range(len(scenes))), PICTURE_GUIDANCE
        )
        images = pixels_from_images(self.tokenizer.images_from_tokens(tokens)).numpy()
        truth = np.stack([item.render(images.shape[1]) for item in scenes])
        save_grid(np.concatenate([truth[:6], images[:6], truth[6:], images[6:]]), 6, path, 256 // images.shape[1])
