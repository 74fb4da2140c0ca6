"""The law of MODE-EXACT by enumeration: a decode is run once for every outcome of its draws."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor

from mulo_sd.conformance.strategies.toys import PREFIX_VOCABULARY
from mulo_sd.reference.decode import decode
from mulo_sd.reference.largest_error import largest_error
from mulo_sd.reference.models import Condition, Models
from mulo_sd.reference.random_weights import fill
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.state import ModelState
from mulo_sd.reference.tokenizer import Tokenizer, TokenizerConfig
from mulo_sd.reference.transformer import Transformer, TransformerConfig

Law = dict[tuple[int, ...], float]  # a grid's tokens in raster order -> probability


class Tiny(NamedTuple):
    """Models of a vocabulary so small that all their images can be listed; `height` and `width` are the drafter's."""

    height: int
    width: int
    scale_ratio: int
    codes: int
    weights_seed: int

    def build(self) -> tuple[Models, Condition]:
        """Make the models in float64, and a condition."""
        generator = torch.Generator().manual_seed(self.weights_seed)

        def transformer(ratio: int) -> Transformer:
            config = TransformerConfig(
                grid_height=self.height * ratio,
                grid_width=self.width * ratio,
                vocabulary=self.codes,
                layers=1,
                heads=2,
                dim=8,
                prefix_length=1,
                prefix_vocabulary=PREFIX_VOCABULARY,
            )
            model = Transformer(config).double()
            fill(model, generator, 1.5)
            return model

        with torch.random.fork_rng(devices=[]):
            target, drafter = transformer(self.scale_ratio), transformer(1)
            config = TokenizerConfig(
                codes=self.codes, code_dim=4, width=8, encoder_blocks=1, decoder_blocks=1, factor=2
            )
            tokenizer = Tokenizer(config).double()
            fill(tokenizer, generator, 1.5)
        ids = torch.randint(0, PREFIX_VOCABULARY, (2, 1, 2), generator=generator)
        return Models(target, (drafter,), tokenizer), Condition(ids[0], ids[1])


class Chooser:
    """Walks a tree of choices depth first: each run replays a path and then takes first branches."""

    def __init__(self) -> None:
        self.path: list[int] = []  # which branch to take at each choice
        self.options: list[int] = []  # how many there were
        self.probability = 1.0

    def choose(self, probabilities: Sequence[float]) -> int:
        """Return the branch to take; branches without probability are left out."""
        possible = [index for index, value in enumerate(probabilities) if value > 0]
        depth = len(self.options)
        if depth == len(self.path):
            self.path.append(0)
        self.options.append(len(possible))
        branch = possible[self.path[depth]]
        self.probability *= probabilities[branch]
        return branch

    def runs(self, run: Callable[[], tuple[int, ...]]) -> Iterator[tuple[tuple[int, ...], float]]:
        """Yield the outcome of `run` and its probability for every path."""
        while True:
            self.options, self.probability = [], 1.0
            outcome = run()
            yield outcome, self.probability
            while self.path and self.path[-1] == self.options[len(self.path) - 1] - 1:
                self.path.pop()
            if not self.path:
                return
            self.path[-1] += 1


class _Draw:
    """A uniform draw that is below p with probability p, as the chooser says."""

    def __init__(self, chooser: Chooser, position: int, read: list[int], sharpen: Callable[[float], float]) -> None:
        self.chooser, self.position, self.read, self.sharpen = chooser, position, read, sharpen

    def __lt__(self, p: Tensor) -> bool:
        self.read.append(self.position)
        accepted = min(1.0, max(0.0, self.sharpen(float(p))))
        return self.chooser.choose((accepted, 1 - accepted)) == 0


class _Draws:
    def __init__(self, draws: list[_Draw]) -> None:
        self.draws = draws

    def __getitem__(self, key: object) -> "_Draw | _Draws":
        return self.draws[key] if isinstance(key, int) else self


class Enumeration(NamedTuple):
    """What every outcome of a decode's draws gives, and which positions' acceptance draws each run read."""

    law: Law
    reads: list[list[int]]


@contextmanager
def driven(chooser: Chooser, read: list[int], sharpen: Callable[[float], float]) -> Iterator[None]:
    """Let a chooser take the place of all noise."""

    def uniform(_seed: int, _stream: int, positions: Sequence[int], **_others: int) -> _Draws:
        return _Draws([_Draw(chooser, position, read, sharpen) for position in positions])

    def draw(
        _state: ModelState, _cells: Sequence[int], log_probs: Tensor, *_others: object, **_named: object
    ) -> Tensor:
        return torch.tensor([chooser.choose(row.softmax(-1).tolist()) for row in log_probs])

    with patch("mulo_sd.reference.exact.uniform_noise", uniform), patch.object(ModelState, "draw", draw):
        yield


def enumerate_decode(
    world: tuple[Models, Condition],
    settings: Settings,
    draft: Tensor | None,
    sharpen: Callable[[float], float] = lambda p: p,
) -> Enumeration:
    """Return the law of a decode's tokens over all outcomes of its draws."""
    chooser, reads, law = Chooser(), list[list[int]](), Law()

    def run() -> tuple[int, ...]:
        reads.append([])
        with driven(chooser, reads[-1], sharpen):
            return tuple(decode(*world, settings, 0, draft).tokens.flatten().tolist())

    for outcome, probability in chooser.runs(run):
        law[outcome] = law.get(outcome, 0.0) + probability
    return Enumeration(law, reads)


@torch.inference_mode()
def autoregressive_law(world: tuple[Models, Condition], settings: Settings) -> Law:
    """Return the target's law over all grids, from whole sequences at once: no cache, no schedule."""
    models, condition = world
    model = models.target
    cells, codes = model.config.grid_height * model.config.grid_width, model.config.vocabulary
    grids = torch.cartesian_prod(*[torch.arange(codes)] * cells).reshape(-1, cells)
    prefixes = condition.prefixes(model, settings.guidance_scale)
    positions = torch.arange(model.config.sequence_length - 1)[None].expand(len(grids), -1)
    halves = []
    for prefix in prefixes:
        embedded = model.prefix_embeddings(prefix[None]).expand(len(grids), -1, -1)
        embeddings = torch.cat([embedded, model.token_embeddings(grids[:, :-1])], dim=1)
        halves.append(model(embeddings, positions)[:, model.config.prefix_length - 1 :])
    state = ModelState.__new__(ModelState)
    state.settings = settings
    logits = torch.stack(halves).flatten(1, 2)
    log_probs = state.log_probs(logits).reshape(len(grids), cells, codes)
    chosen = log_probs.gather(2, grids[..., None])[..., 0].sum(dim=1).exp()
    return {tuple(grid): probability for grid, probability in zip(grids.tolist(), chosen.tolist(), strict=True)}


def distance(law: Law, other: Law) -> float:
    """Return the largest difference of two laws over all grids."""
    grids = law.keys() | other.keys()
    ours, theirs = (torch.tensor([part.get(grid, 0.0) for grid in grids], dtype=torch.float64) for part in (law, other))
    return largest_error(ours, theirs, "probabilities of grids")
