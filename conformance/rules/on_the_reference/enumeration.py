"""Models so small that all their images can be listed: what each cell's noise makes of every image at once."""

from typing import NamedTuple

import torch
from torch import Tensor

from mulo_sd.conformance.rules import oracles
from mulo_sd.conformance.strategies.toys import PREFIX_VOCABULARY
from mulo_sd.reference.exact import verify_exactly
from mulo_sd.reference.models import Condition
from mulo_sd.reference.random_weights import fill
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.state import ModelState
from mulo_sd.reference.trace import Proposal, Trace
from mulo_sd.reference.transformer import Transformer, TransformerConfig


class Tiny(NamedTuple):
    """A target alone: `codes` ** (`height` * `width`) images."""

    height: int
    width: int
    codes: int
    weights_seed: int

    @property
    def cells(self) -> int:
        return self.height * self.width

    @property
    def grids(self) -> Tensor:
        """Every image, Int[images, cells]."""
        return torch.cartesian_prod(*[torch.arange(self.codes)] * self.cells).reshape(-1, self.cells)

    def build(self) -> tuple[Transformer, Condition]:
        """Make the target in float64, and a condition."""
        generator = torch.Generator().manual_seed(self.weights_seed)
        config = TransformerConfig(
            grid_height=self.height,
            grid_width=self.width,
            vocabulary=self.codes,
            layers=2,
            heads=2,
            dim=8,
            prefix_length=1,
            prefix_vocabulary=PREFIX_VOCABULARY,
        )
        with torch.random.fork_rng(devices=[]):
            model = Transformer(config).double()
        fill(model, generator, 1.5)
        ids = torch.randint(0, PREFIX_VOCABULARY, (2, 1, 2), generator=generator)
        return model, Condition(ids[0], ids[1])


class Decided(NamedTuple):
    """A target's grid that was decided by sweeps, and its state."""

    tokens: Tensor
    state: ModelState

    @property
    def sweeps(self) -> int:
        """How many there were."""
        return sum(len(item.sweeps) for item in self.state.trace.passes)


@torch.inference_mode()
def sampled_from_all(tiny: Tiny, settings: Settings, seed: int) -> Tensor:
    """Return what each cell's noise makes of the tokens before it, Int[images, cells], from whole sequences at once."""
    model, condition = tiny.build()
    grids = tiny.grids
    positions = torch.arange(model.config.sequence_length - 1)[None].expand(len(grids), -1)
    halves = []
    for prefix in condition.prefixes(model, settings.guidance_scale):
        embedded = model.prefix_embeddings(prefix[None]).expand(len(grids), -1, -1)
        embeddings = torch.cat([embedded, model.token_embeddings(grids[:, :-1])], dim=1)
        halves.append(model(embeddings, positions)[:, model.config.prefix_length - 1 :].tolist())
    noise = [[oracles.gumbel(seed, 0, cell, code) for code in range(tiny.codes)] for cell in range(tiny.cells)]

    def sample(grid: int, cell: int) -> int:
        cond, *uncond = (half[grid][cell] for half in halves)
        base = uncond[0] if uncond else None
        probs = oracles.probs(cond, base, settings.guidance_scale, settings.temperature, settings.top_k, settings.top_p)
        return oracles.sampled(probs, noise[cell])

    return torch.tensor([[sample(grid, cell) for cell in range(tiny.cells)] for grid in range(len(grids))])


def fixed_points(tiny: Tiny, sampled: Tensor) -> Tensor:
    """Return the images that are what their own noise makes of them, Int[n, cells]."""
    grids = tiny.grids
    return grids[(grids == sampled).all(dim=1)]


@torch.inference_mode()
def decide(
    tiny: Tiny, world: tuple[Transformer, Condition], settings: Settings, seed: int, guess: Tensor | None = None
) -> Decided:
    """Decide the grid by sweeps whose first guesses are given, Int[cells], or code 0 everywhere."""
    guess = torch.zeros(tiny.cells, dtype=torch.long) if guess is None else guess
    model, condition = world
    state = ModelState(model, 0, condition, settings, seed, Trace(), record_logits=False)
    state.propose(range(tiny.cells), guess)
    rows = guess.reshape(tiny.height, tiny.width)
    verify_exactly(state, Proposal(0, 1, 0, tiny.height, 0, rows, rows))
    return Decided(state.grid.clone(), state)
