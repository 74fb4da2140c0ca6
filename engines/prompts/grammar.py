"""The demo's prompt grammar, plain English for GenEval's six tasks, and its parser.

prompt   := counted | object | object "and" object | object relation object
counted  := ("two" | "three" | "four") [colour] shapes
object   := ("a" | "an" | "one") [colour] shape
relation := ["to" "the"] ("left" | "right") "of" | "above" | "below"
"""

from dataclasses import dataclass

from mulo_sd.engines.prompts.vocabulary import (
    COLOURS,
    COUNT_TO_WORD,
    COUNTS,
    PLURALS,
    SHAPE_TO_PLURAL,
    SHAPES,
    Colour,
    Relation,
    Shape,
    Task,
)
from mulo_sd.engines.text import PromptError, check_text

MAX_PROMPT_CHARACTERS = 200
ARTICLES = ("a", "an", "one")
FILLERS = ("to", "the", "of", "and", "left", "right", "above", "below")
EXAMPLES = '"a red circle left of a blue square", "three green stars", "a star and a cross"'


@dataclass(frozen=True)
class PromptObject:
    """One object of a prompt; colour None means any colour."""

    shape: Shape
    colour: Colour | None = None

    @property
    def text(self) -> str:
        words = [self.colour, self.shape] if self.colour else [self.shape]
        article = "an" if words[0][0] in "aeiou" else "a"
        return " ".join([article, *words])


@dataclass(frozen=True)
class Prompt:
    """A parsed prompt: its objects in the order named, and how the first relates to the second."""

    objects: tuple[PromptObject, ...]
    relation: Relation | None = None

    @property
    def task(self) -> Task:
        """The GenEval task that the prompt belongs to."""
        if self.relation is not None:
            return "position"
        coloured = any(item.colour for item in self.objects)
        if len(self.objects) == 1:
            return "colors" if coloured else "single_object"
        if self.is_counted:
            return "counting"
        return "color_attr" if coloured else "two_object"

    @property
    def is_counted(self) -> bool:
        """Whether the prompt counts equal objects. "a star and a star" is read as "two stars"."""
        return self.relation is None and len(self.objects) > 1 and len(set(self.objects)) == 1

    @property
    def text(self) -> str:
        """The prompt in its canonical wording; parse(prompt.text) == prompt."""
        first = self.objects[0]
        if self.is_counted:
            colour = [first.colour] if first.colour else []
            return " ".join([COUNT_TO_WORD[len(self.objects)], *colour, SHAPE_TO_PLURAL[first.shape]])
        if len(self.objects) == 1:
            return first.text
        return f"{first.text} {self.relation or 'and'} {self.objects[1].text}"


class _Words:
    """The words of a prompt, read from left to right."""

    def __init__(self, text: str) -> None:
        check_text(text, max_characters=MAX_PROMPT_CHARACTERS, advice=f"try one such as {EXAMPLES}")
        self.words = text.lower().strip().rstrip(".!").replace(",", " ").split()
        self.next = 0
        if not self.words:
            raise PromptError(f"prompt: it is empty; try one such as {EXAMPLES}")
        known = {*ARTICLES, *COUNTS, *COLOURS, *SHAPES, *PLURALS, *FILLERS}
        for word in self.words:
            if word not in known:
                raise PromptError(
                    f"prompt: unknown word {word[:40]!r}; the demo knows counts "
                    f"({', '.join(COUNTS)}), colours ({', '.join(COLOURS)}), shapes ({', '.join(SHAPES)}) and "
                    "'and', 'left of', 'right of', 'above', 'below'"
                )

    def peek(self) -> str:
        return self.words[self.next] if self.next < len(self.words) else ""

    def take(self, *accepted: str) -> str:
        """Take the next word if it is one of `accepted`, else return the empty string."""
        word = self.peek()
        if word and word in accepted:
            self.next += 1
            return word
        return ""

    def expect(self, description: str, *accepted: str) -> str:
        """Take the next word if it is one of `accepted`, else raise PromptError."""
        word = self.take(*accepted)
        if not word:
            following = repr(self.peek()) if self.peek() else "the end"
            raise PromptError(
                f"prompt: expected {description}, got {following} (word {self.next + 1}); try e.g. {EXAMPLES}"
            )
        return word


def _object(words: _Words) -> PromptObject:
    words.expect("'a', 'an' or a count", *ARTICLES)
    colour = next((item for item in COLOURS if item == words.peek()), None)
    words.take(*COLOURS)
    name = words.expect("one shape (" + ", ".join(SHAPES) + ")", *SHAPES)
    return PromptObject(next(shape for shape in SHAPES if shape == name), colour)


def _relation(words: _Words) -> Relation | None:
    if words.take("and"):
        return None
    if words.take("to"):
        words.expect("'the' after 'to'", "the")
    if words.take("above"):
        return "above"
    if words.take("below"):
        return "below"
    side = words.expect("'and', 'left of', 'right of', 'above' or 'below'", "left", "right")
    words.expect(f"'of' after '{side}'", "of")
    return "left of" if side == "left" else "right of"


def parse(text: str) -> Prompt:
    """Parse a prompt.

    Raises:
        PromptError: a word is unknown, a word is out of place, or the prompt is empty or too long.
    """
    words = _Words(text)
    count_word = words.take(*COUNTS)
    if count_word:
        colour = next((item for item in COLOURS if item == words.peek()), None)
        words.take(*COLOURS)
        plural = words.expect("a plural shape (" + ", ".join(PLURALS) + ")", *PLURALS)
        prompt = Prompt((PromptObject(PLURALS[plural], colour),) * COUNTS[count_word])
    else:
        first = _object(words)
        if not words.peek():
            prompt = Prompt((first,))
        else:
            relation = _relation(words)
            prompt = Prompt((first, _object(words)), relation)
    if words.peek():
        raise PromptError(
            f"prompt: expected the end, got {words.peek()!r} (word {words.next + 1}); "
            f"name at most two objects or one count, e.g. {EXAMPLES}"
        )
    return prompt
