"""Real inputs for comparing graphs with the reference: passes of its models, and tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from mulo_sd.reference.checkpoints.ta_tok import TATokDecoder
from mulo_sd.reference.decode import decode
from mulo_sd.reference.models import Condition, Models
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.trace import Pass

COMPARED_PASSES = 40


@dataclass(frozen=True)
class Evidence:
    """Real inputs: what a reference decode did, and the tokens of real scenes.

    Attributes:
        models: The float32 reference.
        condition: The prefix decoded.
        passes: The first passes of each model, with logits.
        tokens: Of a real scene, on the grid of each model, Int[h, w].
        neighbours: Int[V, k].
        ta_tok: What makes features of Tar's semantic ids, if the bundle is to hold it.
    """

    models: Models
    condition: Condition
    passes: Sequence[list[Pass]]
    tokens: tuple[Tensor, ...]
    neighbours: Tensor
    ta_tok: TATokDecoder | None = None


def gather_evidence(models: Models, condition: Condition, tokens: tuple[Tensor, ...], neighbours: Tensor) -> Evidence:
    """Decode one image with the reference, every model in its turn, and keep each one's first passes."""
    numbers = range(len(models.drafters) + 1)
    settings = Settings(drafters=tuple(numbers[1:]), tau=0.3, radius=1)
    trace = decode(models, condition, settings, seed=1, record_logits=True).trace
    passes = [[item for item in trace.passes if item.model == number][:COMPARED_PASSES] for number in numbers]
    return Evidence(models, condition, tuple(passes), tokens, neighbours)
