"""Captions of pictograms: what they ask for, in words and back."""

from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

from mulo_sd.reference.pictograms.grounds import GROUND_COLOURS
from mulo_sd.reference.pictograms.sheet import pictograms

# GenEval's tasks, as far as they fit drawings that have their colours: `colors` asks for the ground's.
Task = Literal["single_object", "two_object", "counting", "colors", "position"]
TASKS: tuple[Task, ...] = get_args(Task)
Relation = Literal["left of", "right of", "above", "below"]
RELATIONS: tuple[Relation, ...] = get_args(Relation)
COUNTS = {"two": 2, "three": 3}
_IRREGULAR = {"fish": "fish", "ox": "oxen", "leaf": "leaves", "mouse": "mice", "shrimp": "shrimp", "rice": "rice"}


class CaptionError(ValueError):
    """A caption that asks for something else than pictograms; its message is one line for the user."""


@dataclass(frozen=True)
class Wish:
    """What a caption asks for.

    Attributes:
        objects: Indices of pictograms; counted ones stand repeatedly.
        relation: Of the first to the second.
        ground: Colour of the ground.
    """

    objects: tuple[int, ...]
    relation: Relation | None = None
    ground: str | None = None

    @property
    def task(self) -> Task:
        """Whose task of GenEval it is."""
        if self.ground is not None:
            return "colors"
        if len(self.objects) == 1:
            return "single_object"
        if len(set(self.objects)) == 1:
            return "counting"
        return "position" if self.relation else "two_object"

    @property
    def caption(self) -> str:
        """The words."""
        names = [pictograms()[index].name for index in self.objects]
        if self.task == "counting":
            count = next(word for word, count in COUNTS.items() if count == len(names))
            return f"{count} {plural(names[0])}"
        words = with_article(names[0])
        if len(names) == 2:
            words = f"{words} {self.relation or 'and'} {with_article(names[1])}"
        return words if self.ground is None else f"{words} on {with_article(self.ground)} ground"


def is_plural(name: str) -> bool:
    """Whether a name is a plural already, such as "cherries": it has no article, and nobody counts it."""
    return name.endswith("s") and not name.endswith(("ss", "us", "is"))


def with_article(name: str) -> str:
    """Return "a key", "an owl" or "cherries"."""
    if is_plural(name):
        return name
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def plural(name: str) -> str:
    """Return the plural of a name by its last word."""
    *before, word = name.split()
    if word in _IRREGULAR:
        word = _IRREGULAR[word]
    elif word.endswith("y") and word[-2] not in "aeiou":
        word = f"{word[:-1]}ies"
    elif word.endswith(("s", "x", "z", "ch", "sh")):
        word = f"{word}es"
    else:
        word = f"{word}s"
    return " ".join([*before, word])


@cache
def _named() -> tuple[dict[str, int], dict[str, int]]:
    """Return pictograms by name with its article, and by plural."""
    single = {with_article(item.name): item.index for item in pictograms()}
    several = {plural(item.name): item.index for item in pictograms() if not is_plural(item.name)}
    return single, several


def parse(caption: str) -> Wish:
    """Return what a caption asks for.

    Raises:
        CaptionError: it is no caption of this world.
    """
    single, several = _named()
    text = " ".join(caption.lower().split())
    ground = None
    for colour in GROUND_COLOURS:
        ending = f" on {with_article(colour)} ground"
        if text.endswith(ending):
            ground, text = colour, text.removesuffix(ending)
    if text in single:
        return Wish((single[text],), ground=ground)
    count, _, rest = text.partition(" ")
    if ground is None and count in COUNTS and rest in several:
        return Wish((several[rest],) * COUNTS[count])
    for joint in (*RELATIONS, "and"):
        first, found, second = text.partition(f" {joint} ")
        if ground is None and found and first in single and second in single:
            relation = next((name for name in RELATIONS if name == joint), None)
            if single[first] != single[second]:
                return Wish((single[first], single[second]), relation)
    raise CaptionError(
        "caption: expected pictograms such as 'a red apple left of an owl', 'two keys' or 'a rocket on a blue ground', "
        f"got {caption[:80]!r}"
    )
