"""Texts from outside: one rule for prompts, captions and classes, wherever they come in."""

import unicodedata

LINE_CHARACTERS = "\t\n\v\f\r"  # the control characters that only end lines or keep words apart
NOT_SHOWN = {"Cc", "Cf", "Zl", "Zp", "Zs"}  # Unicode's categories of controls, marks of format, and spaces
FIRST_SURROGATE, LAST_SURROGATE = "\ud800", "\udfff"


class PromptError(ValueError):
    """A prompt that cannot be drawn; its message is one line for the user."""


def check_text(text: object, name: str = "prompt", most: int | None = None, advice: str = "say what to draw") -> str:
    r"""Check a text from outside, and return it as it is.

    Args:
        text: What came; a program, or a file of JSON, may give anything.
        name: Of the text, as the user knows it: `prompt`, or a file and a line of it.
        most: Characters that it may have; None is any number.
        advice: What to do about an empty text.

    Raises:
        PromptError: it is no text, too long, shows nothing, or holds half of a surrogate pair (JSON's "\ud800", or
            bytes that are not UTF-8) or a control character other than tabs and line ends.
    """
    if not isinstance(text, str):
        raise PromptError(f"{name}: expected text, got {type(text).__name__}")
    if most is not None and len(text) > most:
        raise PromptError(f"{name}: expected at most {most} characters, got {len(text)}; shorten it")
    # What is printable as a whole holds neither: a prompt file may have 200,000 of them.
    for place, character in enumerate("" if text.isprintable() else text, start=1):
        where = f"U+{ord(character):04X} as character {place}"
        if FIRST_SURROGATE <= character <= LAST_SURROGATE:
            raise PromptError(
                f"{name}: expected Unicode text, got half of a surrogate pair, {where}; write it in UTF-8"
            )
        if (character < " " and character not in LINE_CHARACTERS) or character == "\x7f":
            raise PromptError(f"{name}: expected text without control characters, got {where}; leave it out")
    if shows_nothing(text):
        raise PromptError(f"{name}: it is empty; {advice}")
    return text


def shows_nothing(text: str) -> bool:
    """Return whether a text has no character that can be seen: spaces, line ends and marks of format alone."""
    return all(unicodedata.category(character) in NOT_SHOWN for character in text)
