"""What a training makes: which models on which grids, of which size, and for how many steps."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from mulo_sd.reference.train.scaler_losses import ScalerLoss
from mulo_sd.reference.train.schedule import DECAY_SHARE

TOKENIZER, TARGET = "tokenizer", "target"
HEAD, BLOCK = "head", "block"
UP_SAMPLER, DOWN_SAMPLER = "up_sampler", "down_sampler"
SAMPLERS = (UP_SAMPLER, DOWN_SAMPLER)
EXTRAS = (HEAD, BLOCK)  # what drafts for a target that is trained already
MAX_DRAFTERS = 2
# Shares of the time that is allowed: what is learned first serves all that follows.
TIME_SHARES = MappingProxyType({TOKENIZER: 2.0, "drafter_1": 3.0, "drafter_2": 1.0, TARGET: 4.0})
EXTRA_TIME_SHARE = 0.5  # of a sampler, head or block
DEFAULT_STEPS = MappingProxyType({TOKENIZER: 4000, UP_SAMPLER: 600, DOWN_SAMPLER: 400, HEAD: 300, BLOCK: 400})
VIEWS = (8_000, 400_000)  # that a transformer has by default, at least and at most ...
VIEWS_A_PICTURE = 40  # ... and else as many of each picture
# Judgements on held-out pictures without a lower loss, after which a transformer ends.
PATIENCE = 6
# Of fewer pictures a transformer can draw hardly anything but what it has learned by heart.
BY_HEART = 1_000
BATCH_ROWS = 512  # rows of tokens in a batch, about

# Which weights of a transformer are kept: the best on held-out pictures, or the last.
Keep = Literal["best", "last"]


@dataclass(frozen=True)
class Sizes:
    """How large pictures and models are.

    Attributes:
        pixels: Of a picture's side.
        factor: Pixels of a token's side.
        drafters: 1 or 2.
        codes: Of a tokenizer that is trained.
        width: Of its layers.
        layers: Of a transformer, like those below.
        heads: Each of at least 4 channels.
        dim: A multiple of 4 * `heads`.
    """

    pixels: int = 128
    factor: int = 4
    drafters: int = 2
    codes: int = 1024
    width: int = 128
    layers: int = 5
    heads: int = 4
    dim: int = 256

    def __post_init__(self) -> None:
        """Check that grids divide each other.

        Raises:
            ValueError: they do not, or heads do not fit.
        """
        unit = self.factor * 2**self.drafters
        if self.pixels % unit or self.pixels // unit < 2:
            raise ValueError(
                f"--pixels: expected a multiple of {unit}, {2 * unit} at least, with --factor {self.factor} and "
                f"--drafters {self.drafters}, got {self.pixels}"
            )
        if self.dim % (4 * self.heads):
            raise ValueError(f"--dim: expected a multiple of 4 * --heads = {4 * self.heads}, got {self.dim}")

    @property
    def sides(self) -> tuple[int, ...]:
        """Of the grids, in cells: the target's, then the drafters'."""
        return tuple(self.pixels // self.factor // 2**number for number in range(1 + self.drafters))

    @property
    def grids(self) -> dict[str, int]:
        """Cells a side, by the name of a transformer."""
        return {transformer_name(number): side for number, side in enumerate(self.sides)}


def transformer_name(number: int) -> str:
    """Return what a transformer is called: 0 is the target."""
    return f"drafter_{number}" if number else TARGET


def default_batch(side: int) -> int:
    """Return how many images of a grid make a batch of about as many tokens as any other's, up to a power of two."""
    return max(4, min(64, BATCH_ROWS // side))


def default_matrix_rate(side: int) -> float:
    """Return the peak learning rate of a transformer's matrices; large grids want a smaller one."""
    return 0.005 if side >= 32 else 0.01


@dataclass(frozen=True)
class Recipe:
    """What is trained, in this order, and how.

    Attributes:
        sizes: Of pictures and models.
        models: Names, such as "tokenizer", "drafter_1", "target", "up_sampler_2".
        steps: By name; what is missing follows from `default_steps`.
        batch: Images a step, by name, likewise.
        matrix_rate: Peak learning rate of matrices, by name, likewise.
        pictures: How many there are to learn from; None where they never end.
        focus_weight: Of the cells that a caption speaks of, in the loss.
        rescaled_share: Of the examples, how many see contexts of other grids.
        windows: Of a transformer's steps, how many of the first see windows.
        decay: Of a transformer's steps, in how many of the last the rates fall.
        keep: Which weights of a transformer; by default the best, or the last where pictures are fewer than BY_HEART.
        patience: Judgements on held-out pictures without a lower loss, after which a transformer ends; 0: never. By
            default PATIENCE where the best weights are kept.
        sampler_loss: Of latent samplers.
        rows_above: Of latent samplers: 2 are row-causal, with 1 a row sees the one below it.
    """

    sizes: Sizes
    models: tuple[str, ...]
    steps: Mapping[str, int] = field(default_factory=dict)
    batch: Mapping[str, int] = field(default_factory=dict)
    matrix_rate: Mapping[str, float] = field(default_factory=dict)
    pictures: int | None = None
    focus_weight: float = 1.0
    rescaled_share: float = 0.5
    windows: float = 0.0
    decay: float = DECAY_SHARE
    keep: Keep | None = None
    patience: int | None = None
    sampler_loss: ScalerLoss = "pixel"
    rows_above: int = 2

    @property
    def learns_by_heart(self) -> bool:
        """Whether transformers keep their last weights, which draw what they have learned, however others look."""
        few = self.pictures is not None and self.pictures < BY_HEART
        return few if self.keep is None else self.keep == "last"

    @property
    def has_transformers(self) -> bool:
        """Whether a drafter or the target is among the models."""
        return any(name in self.sizes.grids for name in self.models)

    @property
    def ends_after(self) -> int:
        """After how many judgements without a lower loss a transformer ends; 0: never."""
        default = 0 if self.learns_by_heart else PATIENCE
        return default if self.patience is None else self.patience

    def batch_of(self, name: str) -> int:
        """Return how many images a step of a model takes."""
        kind = kind_of(name)
        if kind in self.sizes.grids:
            return self.batch.get(kind, default_batch(self.sizes.grids[kind]))
        return self.batch.get(kind, 8 if kind in SAMPLERS else 4)

    def matrix_rate_of(self, name: str) -> float:
        """Return the peak learning rate of a model's matrices."""
        kind = kind_of(name)
        default = {HEAD: 0.01, BLOCK: 0.005}.get(kind) or default_matrix_rate(self.sizes.grids.get(kind, 32))
        return self.matrix_rate.get(kind, default)

    def steps_of(self, name: str) -> int:
        """Return how many steps a model takes, if nothing ends it early."""
        kind = kind_of(name)
        if kind in self.steps:
            return self.steps[kind]
        if kind in DEFAULT_STEPS:
            return DEFAULT_STEPS[kind]
        views = VIEWS[0] if self.pictures is None else VIEWS_A_PICTURE * self.pictures
        return -(-min(VIEWS[1], max(VIEWS[0], views)) // self.batch_of(name))


def time_weight(name: str) -> float:
    """Return how much of the time a model gets, against others."""
    return TIME_SHARES.get(name, EXTRA_TIME_SHARE)


def kind_of(name: str) -> str:
    """Return what a model's defaults are kept under: a sampler's have no ratio."""
    return next((kind for kind in SAMPLERS if name.startswith(kind)), name)


def ratio_of(name: str) -> int:
    """Return the scale ratio of a sampler, such as "up_sampler_2"."""
    return int(name.rsplit("_", 1)[1])


def whole_models(drafters: int, with_samplers: bool) -> tuple[str, ...]:
    """Return the models of a whole training in their order: drafters begin, since the target starts from the finest."""
    ratios = [2**number for number in range(1, 1 + drafters)] if with_samplers else []
    samplers = [f"{kind}_{ratio}" for ratio in ratios for kind in SAMPLERS]
    return (TOKENIZER, *(transformer_name(number) for number in range(1, 1 + drafters)), TARGET, *samplers)


def known_models(drafters: int) -> tuple[str, ...]:
    """Return all models that can be trained by name, in the order in which they build on each other."""
    return (*whole_models(drafters, with_samplers=True), HEAD, BLOCK)
