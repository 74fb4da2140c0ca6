"""Prompts of LlamaGen's class models: the number of a class, or of ImageNet's its name."""

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
    """Return the names of every class of ImageNet-1k, in its order: the lemmas that WordNet has for its synset."""
    text = files("mulo_sd.engines.conditions").joinpath("imagenet_classes.txt").read_text(encoding="utf-8")
    return tuple(tuple(name.strip() for name in line.split(",")) for line in text.split("\n") if line)


class ClassFrontEnd:
    """Finds classes."""

    def __init__(self, bundle: Bundle) -> None:
        self.null = bundle.null_conditions[0]

    @property
    def classes(self) -> int:
        """How many there are; the null class comes after them."""
        return 0 if self.null is None else int(self.null[0, 0])

    def check(self, prompt: str) -> None:
        """Find a class."""
        self.number(prompt)

    def describe(self, prompt: str, seed: int, plan: Plan | None) -> Described:
        """Find a class by number or name; no plan is known here, and the seed has no part in it."""
        if plan is not None:
            raise PlanError("plan: expected none, since these models take classes alone")
        return Described(Condition(np.array([[self.number(prompt)]], dtype=np.int64)))

    def number(self, prompt: str) -> int:
        """Return a class's number.

        Raises:
            PromptError: there is no such class, or several are called so.
        """
        named = ", or a name such as 'goldfish'" if self.classes == IMAGENET_CLASSES else ""
        expected = f"expected a class in 0..{self.classes - 1}{named}"
        text = check_text(prompt, most=MAX_NAME_CHARACTERS, advice=expected).strip().lower()
        if text.isdecimal() and len(text) <= 9:
            if int(text) >= self.classes:
                raise PromptError(f"prompt: expected a class in 0..{self.classes - 1}, got {text}")
            return int(text)
        found = []
        if self.classes == IMAGENET_CLASSES:
            every = imagenet_names()
            found = [number for number, names in enumerate(every) if text in (name.lower() for name in names)]
        if len(found) == 1:
            return found[0]
        several = f"; {', '.join(map(str, found))} are called so" if found else ""
        raise PromptError(f"prompt: {expected}, got {prompt[:40]!r}{several}")
