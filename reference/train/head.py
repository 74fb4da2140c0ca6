"""Training of the drafting head: to predict what the target predicts, from the target's features and from its own."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mulo_sd.reference.head import PREFIX_TOKEN, SHARED, Head, HeadConfig, own_tensors, with_shared
from mulo_sd.reference.tokenizer import ImageTokenizer
from mulo_sd.reference.train.devices import CPU, mixed_precision
from mulo_sd.reference.train.examples import Examples, check_codes, conditions_of, tokens_of
from mulo_sd.reference.train.optimizers import Optimizers
from mulo_sd.reference.train.unrolled import UnrolledAttention
from mulo_sd.reference.transformer import Transformer
from mulo_sd.reference.weights import save_tensors

CONDITION_DROPOUT = 0.25  # both halves of guidance are drafted
DEPTHS = 3
DEPTH_WEIGHT = 0.8  # of each depth's loss, against the one before
# Of the loss, beside the share of drafts that min(1, p / q) rejects: nats, and the features' distance. EAGLE trains by
# the latter two; the share is what counts, and where the head begins it is small already.
ENTROPY_WEIGHT = 0.1
FEATURE_WEIGHT = 0.1


class HeadTrainee:
    """A head in training against a target that stays as it is."""

    def __init__(
        self,
        target: Transformer,
        tokenizer: ImageTokenizer,
        examples: Examples,
        seed: int,
        batch: int,
        matrix_rate: float,
        device: torch.device = CPU,
    ) -> None:
        """Prepare a head.

        Args:
            target: What it drafts for.
            tokenizer: Frozen.
            examples: To learn from.
            seed: Of weights and examples.
            batch: Images a step.
            matrix_rate: Peak learning rate of the head's matrices.
            device: Where to compute.

        Raises:
            ValueError: the tokenizer has another number of codes.
        """
        check_codes(tokenizer, target.config)
        torch.manual_seed(seed)
        self.target, self.tokenizer = target.eval().requires_grad_(False).to(device), tokenizer.eval().to(device)
        self.examples, self.seed, self.batch, self.device = examples, seed, batch, device
        self.head = Head(HeadConfig.of(target.config))
        self._initialise()
        self.head.to(device)
        trained = {name: weight for name, weight in self.head.named_parameters() if name not in SHARED}
        matrices = [weight for weight in trained.values() if weight.ndim == 2]
        rest = [weight for weight in trained.values() if weight.ndim != 2]
        self.optimizers = Optimizers(matrices, rest, matrix_rate)

    @torch.no_grad()
    def _initialise(self) -> None:
        """Begin as a head that hands the feature on as it is."""
        for weight in self.head.parameters():
            if weight.ndim == 2:
                torch.nn.init.normal_(weight, std=0.02)
        self.head.fc.weight[:, self.head.config.dim :] += torch.eye(self.head.config.dim)
        self.head.fc.bias.zero_()
        self.head.layer.attention.wo.weight.zero_()
        self.head.layer.feed_forward.w2.weight.zero_()
        self.head.load_state_dict(with_shared(own_tensors(self.head), self.target))
        for name in SHARED:
            self.head.get_parameter(name).requires_grad_(False)

    def state_dict(self) -> dict[str, Any]:
        return {"head": own_tensors(self.head), "optimizers": self.optimizers.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.head.load_state_dict(with_shared(state["head"], self.target))
        self.optimizers.load_state_dict(state["optimizers"])

    @torch.no_grad()
    def _batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the tokens of step `step`, Int[b, L - 1], and what the target makes of them.

        Returns:
            Tokens, PREFIX_TOKEN for the prefix; hidden states, Float[b, L - 1, dim]; logits, Float[b, L - 1, V].
        """
        first = (self.seed << 40) + step * self.batch
        examples = [self.examples.training(first + index) for index in range(self.batch)]
        tokens = tokens_of(self.tokenizer, examples, self.target.config.grid_height).flatten(1)[:, :-1]
        dropped = np.random.default_rng([self.seed, step, 0x48454144]).random(self.batch) < CONDITION_DROPOUT
        prefixes = conditions_of(examples, self.examples.null_condition(), dropped).to(self.device)
        with mixed_precision(self.device):
            hidden, logits = hidden_and_logits(self.target, prefixes, tokens)
        prefix = tokens.new_full((self.batch, self.target.config.prefix_length), PREFIX_TOKEN)
        return torch.cat([prefix, tokens], dim=1), hidden, logits.float()

    def step(self, step: int, steps: int) -> dict[str, float]:
        """Take one step; metrics: loss in nats, share of drafts kept by min(1, p / q) at each depth."""
        tokens, hidden, logits = self._batch(step)
        tokens, features = tokens[:, 1:], hidden[:, :-1]
        positions = torch.arange(1, tokens.shape[1] + 1, device=self.device)[None].expand(len(tokens), -1)
        target_features, target_probs = hidden[:, 1:].float(), logits[:, 1:].softmax(-1)
        attention, loss, metrics = UnrolledAttention(), torch.zeros((), device=self.device), {}
        for depth in range(DEPTHS):
            with mixed_precision(self.device):
                drafts, drafted = self.head(tokens, features, positions, attention.attend)
            # The first token that is drafted follows the first of the image.
            counted = slice(self.target.config.prefix_length - 1 + depth, None)
            log_q, p = drafts[:, counted].float().log_softmax(-1), target_probs[:, counted]
            entropy = -(p * log_q).sum(-1).mean()
            distance = F.smooth_l1_loss(drafted[:, counted].float(), target_features[:, counted])
            kept = torch.minimum(p, log_q.exp()).sum(-1).mean()
            loss = loss + DEPTH_WEIGHT**depth * (1 - kept + ENTROPY_WEIGHT * entropy + FEATURE_WEIGHT * distance)
            metrics[f"kept_{depth + 1}"] = float(kept.detach())
            features = torch.cat([features[:, :1], drafted[:, :-1].to(features.dtype)], dim=1)
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        self.optimizers.step(step, steps)
        return {"loss": float(loss.detach()), **metrics}

    @property
    def config(self) -> HeadConfig:
        return self.head.config

    def save(self, path: Path) -> None:
        """Write the head's weights, without those that are the target's."""
        save_tensors(own_tensors(self.head), self.head.config, path)

    def draw(self, path: Path) -> None:
        """Draw nothing: a head makes no picture of its own."""


def hidden_and_logits(target: Transformer, prefixes: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Return what a target makes of a sequence: its hidden states, which `output` takes, and the logits.

    Args:
        target: The model.
        prefixes: Int[b, P, fields].
        tokens: Int[b, T], the first tokens of the image.

    Returns:
        Float[b, P + T, dim] and Float[b, P + T, vocabulary].
    """
    embeddings = torch.cat([target.prefix_embeddings(prefixes), target.token_embeddings(tokens)], dim=1)
    positions = torch.arange(embeddings.shape[1], device=tokens.device)[None].expand(len(tokens), -1)
    hidden = target.last_hidden(embeddings, positions)
    return hidden, target.output(hidden)
