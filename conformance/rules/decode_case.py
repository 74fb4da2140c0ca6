"""What a law needs to know of a decode, whoever made it: the reference on a toy, or an engine on its bundle."""

from typing import NamedTuple, Protocol

from mulo_sd.reference.models import Condition, Models
from mulo_sd.reference.settings import Settings


class Rounding(NamedTuple):
    """How far a right decode may be from exact arithmetic.

    Attributes:
        logits: Of each logit, against the weights.
        probs: Of a pooled probability, against the logits of its pass.
        nats: Of a log-probability or an entropy; a decision that hangs on less is a near-tie.
        codes: Lead of the nearest code over the second nearest, below which either is right.
    """

    logits: float
    probs: float
    nats: float
    codes: float


# The reference in float64; features are compared in float32 even there.
FLOAT64 = Rounding(logits=1e-9, probs=1e-9, nats=0.0, codes=1e-5)


class DecodeCase(Protocol):
    """Everything that a decode depends on."""

    @property
    def settings(self) -> Settings:
        """How it was decoded."""

    @property
    def seed(self) -> int:
        """Of every sample."""

    @property
    def draft(self) -> tuple[int, ...] | None:
        """Tokens that were taken instead of the coarsest drafter's, in raster order."""

    @property
    def models(self) -> Models:
        """The reference's, with the weights of whoever decoded."""

    @property
    def condition(self) -> Condition:
        """The prefix."""

    @property
    def rounding(self) -> Rounding:
        """Of whoever decoded."""

    @property
    def prefix_length(self) -> int:
        """P of GRID-2."""

    @property
    def codes(self) -> int:
        """Size of the vocabulary."""

    def grid(self, model: int) -> tuple[int, int]:
        """Return a model's rows and columns."""
