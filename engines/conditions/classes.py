"""LlamaGen's class models: a prompt is the number of a class, or the name of an ImageNet class."""

from functools import cache
from importlib.resources import files

import numpy as np

from mulo_sd.engines.bundle import Bundle
from mulo_sd.engines.condition import Condition
from mulo_sd.engines.conditions.front_end import Described
from mulo_sd.engines.prompts import Plan, PlanError, PromptError
from mulo_sd.engines.text import check_text

IMAGENET_CLASSES = 1000
MAX_NAME_CHARACTERS = 200


@cache
def imagenet_names() -> tuple[tuple[str, ...], ...]:
    """Return the names of every class of ImageNet-1k, in its order: the lemmas of its WordNet synset."""
    text = files("mulo_sd.engines.conditions").joinpath("imagenet_classes.txt").read_text(encoding="utf-8")
    return tuple(tuple(name.strip() for name in line.split(",")) for line in text.split("\n") if line)


class ClassFrontEnd:
    """Makes conditions from classes."""

    example_prompts: tuple[str, ...] = ("golden retriever", "goldfish")

    def __init__(self, bundle: Bundle) -> None:
        self.null = bundle.null_conditions[0]

    @property
    def classes(self) -> int:
        """How many classes there are; the null class comes after them."""
        return 0 if self.null is None else int(self.null[0, 0])

    def check(self, prompt: str) -> None:
        """Check that a class exists."""
        self.number(prompt)

    def describe(self, prompt: str, seed: int, plan: Plan | None) -> Described:
        """Find a class by number or name; a plan is an error, and the seed is not used."""
        if plan is not None:
            raise PlanError("plan: expected none for models that take classes, got one; leave it out")
        return Described(Condition(np.array([[self.number(prompt)]], dtype=np.int64)))

    def number(self, prompt: str) -> int:
        """Return a class's number.

        Raises:
            PromptError: no class has this number or name, or several have this name.
        """
        named = ", or a name such as 'goldfish'" if self.classes == IMAGENET_CLASSES else ""
        expected = f"expected a class in 0..{self.classes - 1}{named}"
        text = check_text(prompt, max_characters=MAX_NAME_CHARACTERS, advice=expected).strip().lower()
        if text.isdecimal() and len(text) <= 9:
            if int(text) >= self.classes:
                raise PromptError(f"prompt: expected a class in 0..{self.classes - 1}, got {text}")
            return int(text)
        matches = []
        if self.classes == IMAGENET_CLASSES:
            classes = imagenet_names()
            matches = [number for number, names in enumerate(classes) if text in (name.lower() for name in names)]
        if len(matches) == 1:
            return matches[0]
        several = f"; {', '.join(map(str, matches))} have this name" if matches else ""
        raise PromptError(f"prompt: {expected}, got {prompt[:40]!r}{several}")
