"""The worlds that the training command knows by name: their examples, grids, defaults and scores."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

from mulo_sd.reference.tokenizer import ImageTokenizer
from mulo_sd.reference.train.examples import Examples
from mulo_sd.reference.transformer import Transformer

WorldName = Literal["demo", "pictograms"]
WORLD_NAMES: tuple[WorldName, ...] = get_args(WorldName)
TRANSFORMERS = ("target", "drafter_1", "drafter_2")  # in the order of the grids, the finest first

# What the shipped models of the demo were trained with, by the name of a model.
STEPS = MappingProxyType(
    {
        "tokenizer": 4200,
        "target": 1700,
        "drafter_1": 500,
        "drafter_2": 500,
        "head": 300,
        "block": 400,
        "up_sampler": 600,
        "down_sampler": 400,
    }
)
BATCH = MappingProxyType(
    {"target": 16, "drafter_1": 32, "drafter_2": 64, "head": 4, "block": 4, "up_sampler": 8, "down_sampler": 8}
)
MATRIX_RATE = MappingProxyType({"target": 0.005, "drafter_1": 0.01, "drafter_2": 0.01, "head": 0.01, "block": 0.005})

# What the pictograms' are trained with where it is something else: of small batches and windows they learned most in
# an hour.
PICTOGRAM_STEPS = MappingProxyType({"tokenizer": 10_000, "drafter_1": 1650, "drafter_2": 700, "target": 4950})
PICTOGRAM_BATCH = MappingProxyType({"drafter_1": 16, "drafter_2": 32, "target": 4})
PICTOGRAM_RATE = MappingProxyType({"drafter_1": 0.01, "drafter_2": 0.007, "target": 0.007})

# (model, tokenizer, held-out scenes a task) -> the share of each task that holds, and "overall"
Score = Callable[[Transformer, ImageTokenizer, int], dict[str, float]]


@dataclass(frozen=True)
class World:
    """What the training command trains on where no folder is given; may be sent to other processes.

    Attributes:
        examples: Endless.
        data: What they are, for the model's card.
        weights: The folder of the shipped models.
        score: By the world's evaluator.
        sides: Of the grids, in cells: the target's, then the drafters'.
        steps: By model.
        batch: Images a step, by model; of the tokenizer they follow from the size.
        matrix_rate: Peak learning rate of matrices, by transformer, head and block.
        focus_weight: Of the cells that a caption speaks of, in the loss.
        rescaled_share: Of the examples, how many see contexts of other grids.
        windows: Of a transformer's steps, how many of the first see windows.
    """

    examples: Examples
    data: str
    weights: Path
    score: Score
    sides: tuple[int, ...] = (32, 16, 8)
    steps: Mapping[str, int] = field(default_factory=lambda: dict(STEPS))
    batch: Mapping[str, int] = field(default_factory=lambda: dict(BATCH))
    matrix_rate: Mapping[str, float] = field(default_factory=lambda: dict(MATRIX_RATE))
    focus_weight: float = 5.0
    rescaled_share: float = 0.5
    windows: float = 0.0

    @property
    def grids(self) -> dict[str, int]:
        """Cells a side by the name of a transformer."""
        return dict(zip(TRANSFORMERS, self.sides, strict=False))


def world_named(name: WorldName) -> World:
    """Return a world; its modules and weights may be of a distribution that is not installed.

    Raises:
        ModuleNotFoundError: they are not.
    """
    return _demo() if name == "demo" else _pictograms()


def _demo() -> World:
    from mulo_sd.reference.demo.examples import DemoExamples
    from mulo_sd.reference.demo.scores import autoregressive_scores
    from mulo_sd.reference.demo.shipped import SHIPPED

    data = "procedural scenes of reference.demo.scenes, drawn anew for every step (training split)"
    return World(DemoExamples(), data, SHIPPED, autoregressive_scores)


def _pictograms() -> World:
    from mulo_sd.reference.pictograms.examples import PictogramExamples
    from mulo_sd.reference.pictograms.sheet import SHEET_FOLDER

    data = "captioned pictograms of reference.pictograms.scenes, drawn anew for every step (training split)"
    return World(
        PictogramExamples(),
        data,
        SHEET_FOLDER.parent / "weights",
        _pictogram_scores,
        steps={**STEPS, **PICTOGRAM_STEPS},
        batch={**BATCH, **PICTOGRAM_BATCH},
        matrix_rate={**MATRIX_RATE, **PICTOGRAM_RATE},
        rescaled_share=0.3,
        windows=0.6,
    )


def _pictogram_scores(model: Transformer, tokenizer: ImageTokenizer, per_task: int) -> dict[str, float]:
    """Score a model of pictograms; the evaluator is loaded when it is asked."""
    from mulo_sd.reference.pictograms.scores import autoregressive_scores

    return autoregressive_scores(model, tokenizer, per_task)
