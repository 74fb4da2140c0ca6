"""Training of the block drafter: to draft 25 tokens after any token of an image, in one pass."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mulo_sd.reference.block import block_config, mask_code
from mulo_sd.reference.tokenizer import ImageTokenizer
from mulo_sd.reference.train.devices import CPU, mixed_precision
from mulo_sd.reference.train.examples import Examples, check_codes, conditions_of, tokens_of
from mulo_sd.reference.train.optimizers import Optimizers
from mulo_sd.reference.transformer import Attend, Transformer, TransformerConfig
from mulo_sd.reference.weights import save_weights

CONDITION_DROPOUT = 0.1
BLOCK = 25  # tokens that a pass drafts


class BlockTrainee:
    """A block drafter in training; it begins with the target's embeddings, output and outermost layers."""

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
        """Prepare a drafter.

        Args:
            target: What it drafts for; a block is of its grid.
            tokenizer: Frozen.
            examples: To learn from.
            seed: Of weights and examples.
            batch: Images a step.
            matrix_rate: Peak learning rate of the blocks' matrices.
            device: Where to compute.

        Raises:
            ValueError: the tokenizer has another number of codes.
        """
        check_codes(tokenizer, target.config)
        torch.manual_seed(seed)
        self.tokenizer = tokenizer.eval().to(device)
        self.examples, self.seed, self.batch, self.device = examples, seed, batch, device
        self.model = Transformer(block_config(target.config))
        self._begin_with(target)
        self.model.to(device)
        matrices = [weight for weight in self.model.layers.parameters() if weight.ndim == 2]
        chosen = {id(weight) for weight in matrices}
        rest = [weight for weight in self.model.parameters() if id(weight) not in chosen]
        self.optimizers = Optimizers(matrices, rest, matrix_rate)

    @torch.no_grad()
    def _begin_with(self, target: Transformer) -> None:
        ours, theirs = self.model.config, target.config
        tensors = {name: value for name, value in target.state_dict().items() if not name.startswith("layers.")}
        for name, row in (("tok_embeddings.weight", "mean"), ("output.weight", "zero")):
            weight = tensors[name]
            extra = weight.mean(0, keepdim=True) if row == "mean" else torch.zeros_like(weight[:1])
            tensors[name] = torch.cat([weight, extra])
        state = target.state_dict()
        for layer in range(ours.layers):
            taken = layer * (theirs.layers - 1) // max(1, ours.layers - 1)
            start = f"layers.{taken}."
            tensors |= {
                f"layers.{layer}.{name.removeprefix(start)}": value
                for name, value in state.items()
                if name.startswith(start)
            }
        self.model.load_state_dict(tensors)

    def state_dict(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "optimizers": self.optimizers.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizers.load_state_dict(state["optimizers"])

    def _batch(self, step: int) -> tuple[Tensor, Tensor, int]:
        """Return prefixes Int[b, P, fields], tokens Int[b, cells] and the cell at which the first block begins."""
        first = (self.seed << 40) + step * self.batch
        examples = [self.examples.training(first + index) for index in range(self.batch)]
        rng = np.random.default_rng([self.seed, step, 0x424C4F43])
        dropped = rng.random(self.batch) < CONDITION_DROPOUT
        with torch.no_grad():
            tokens = tokens_of(self.tokenizer, examples, self.model.config.grid_height).flatten(1)
        prefixes = conditions_of(examples, self.examples.null_condition(), dropped).to(self.device)
        # On a grid of fewer cells than a block, one begins before the last but one.
        return prefixes, tokens, int(rng.integers(min(BLOCK, tokens.shape[1] - 1)))

    def step(self, step: int, steps: int) -> dict[str, float]:
        """Take one step; metrics: loss in nats a token, share of tokens drafted exactly, next and in a block."""
        prefixes, tokens, offset = self._batch(step)
        config = self.model.config
        masks, owners = _masks(config, offset)
        positions = torch.cat([torch.arange(config.sequence_length - 1), masks]).to(self.device)
        with mixed_precision(self.device):
            fed = torch.cat([tokens[:, :-1], tokens.new_full((len(tokens), len(masks)), mask_code(config))], dim=1)
            embeddings = torch.cat([self.model.prefix_embeddings(prefixes), self.model.token_embeddings(fed)], dim=1)
            logits = self.model(
                embeddings,
                positions[None].expand(len(tokens), -1),
                block_attend(masks.to(self.device), owners.to(self.device), config.sequence_length - 1),
            )
        counted = logits[:, config.prefix_length - 1 :, : config.vocabulary - 1].float()
        predicted = tokens[:, positions[config.prefix_length - 1 :] + 1 - config.prefix_length]
        loss = F.cross_entropy(counted.flatten(0, 1), predicted.flatten())
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        self.optimizers.step(step, steps)
        right = (counted.detach().argmax(-1) == predicted).float()
        cells = tokens.shape[1]
        return {
            "loss": float(loss.detach()),
            "next_exact": float(right[:, :cells].mean()),
            "block_exact": float(right[:, cells:].mean()),
        }

    @property
    def config(self) -> TransformerConfig:
        return self.model.config

    def save(self, path: Path) -> None:
        """Write the drafter's weights."""
        save_weights(self.model, self.model.config, path)

    def draw(self, path: Path) -> None:
        """Draw nothing: a block drafter makes no picture of its own."""


def _masks(config: TransformerConfig, offset: int) -> tuple[Tensor, Tensor]:
    """Return the masks of blocks that begin at a cell and then one after the other, as `block_attend` takes them."""
    masks: list[int] = []
    owners: list[int] = []
    for start in range(config.prefix_length - 1 + offset, config.sequence_length - 2, BLOCK):
        places = range(start + 1, min(start + BLOCK, config.sequence_length - 1))
        masks += places
        owners += [start] * len(places)
    return torch.tensor(masks, dtype=torch.long), torch.tensor(owners, dtype=torch.long)


def block_attend(masks: Tensor, owners: Tensor, decided: int) -> Attend:
    """Return the attention of a pass that feeds a whole sequence and then the masks of many blocks.

    Args:
        masks: Int[m], the positions of the masks.
        owners: Int[m], the position of the last decided token that each mask's block follows.
        decided: How many positions come first, fed as they are.
    """
    count = decided + len(masks)
    visible = torch.zeros(count, count, dtype=torch.bool, device=masks.device)
    visible[:decided, :decided] = torch.ones_like(visible[:decided, :decided]).tril()
    visible[decided:, :decided] = torch.arange(decided, device=masks.device) <= owners[:, None]
    visible[decided:, decided:] = (owners[:, None] == owners) & (masks <= masks[:, None])

    def attend(_layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=visible)

    return attend
