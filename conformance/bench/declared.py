"""What methods do in a pass of the target, as it is declared for models with random weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Declared:
    """What a pass of the target does in a method.

    Attributes:
        mode: Of the engine.
        label: In words.
        tokens: That it decides, on average.
        fed: That it feeds, drafts included.
        drafts: Passes of a head of one layer for each of them.
        drafts_fed: Tokens that such a pass feeds.
    """

    mode: str
    label: str
    tokens: float
    fed: int
    drafts: float = 0.0
    drafts_fed: int = 1


# On the demo: docs/comparison/comparison.csv.
AS_ON_THE_DEMO: tuple[Declared, ...] = (
    Declared("sjd", "SJD, window 32", 8.1, 31),
    Declared("sjd-gumbel", "SCD, shared noise, window 64", 9.4, 61),
    Declared("sjd-maximal", "SCD, maximal coupling, window 64", 9.4, 62),
    Declared("gsd", "GSD, group 10, window 64", 9.8, 61),
    Declared("pjd", "PJD, lead 9, window 8", 9.4, 20),
    Declared("eagle", "EAGLE, a chain of 4", 3.2, 5, 4.0, 1),
    Declared("eagle-tree", "EAGLE-2, 58 nodes", 4.6, 59, 5.0, 10),
    Declared("lantern", "LANTERN, 58 nodes", 5.0, 59, 5.0, 10),
    Declared("lantern-plus", "LANTERN++, 57 nodes", 4.7, 58, 5.0, 10),
    Declared("cool-sd", "COOL-SD, a chain of 4", 2.9, 5, 4.0, 1),
)
MODES = tuple(item.mode for item in AS_ON_THE_DEMO)


def with_tokens(declared: Sequence[Declared], tokens: Mapping[str, float]) -> list[Declared]:
    """Return methods with other tokens a pass, by mode."""
    return [replace(item, tokens=tokens.get(item.mode, item.tokens)) for item in declared]
