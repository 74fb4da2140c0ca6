"""Check texts from outside: one rule for prompts, captions and names of classes."""

import unicodedata

LINE_CHARACTERS = "\t\n\v\f\r"  # control characters that separate lines or words
NOT_SHOWN = {"Cc", "Cf", "Zl", "Zp", "Zs"}  # Unicode's categories of control and format characters, and of spaces
MAX_CAPTION_CHARACTERS = 4000
FIRST_SURROGATE, LAST_SURROGATE = "\ud800", "\udfff"


class PromptError(ValueError):
    """A prompt that cannot be drawn; the message is one line for the user."""


def check_text(
    text: object, name: str = "prompt", max_characters: int | None = None, advice: str = "say what to draw"
) -> str:
    r"""Check a text from outside and return it unchanged.

    Args:
        text: The text; a program, or a file of JSON, may give any type.
        name: What the user calls it: `prompt`, or a file and a line.
        max_characters: The largest length; None is any.
        advice: What to do about an empty text.

    Raises:
        PromptError: it is not text, is too long, has no visible character, or holds half of a surrogate pair (JSON's
            "\ud800", or bytes that are not UTF-8) or a control character other than tabs and line ends.
    """
    if not isinstance(text, str):
        raise PromptError(f"{name}: expected text, got {type(text).__name__}")
    if max_characters is not None and len(text) > max_characters:
        raise PromptError(f"{name}: expected at most {max_characters} characters, got {len(text)}; shorten it")
    # A printable text holds neither and needs no loop: a prompt file may have 200,000 prompts.
    for number, character in enumerate("" if text.isprintable() else text, start=1):
        where = f"U+{ord(character):04X} as character {number}"
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
    """Return whether a text has no visible character: only spaces, line ends and format characters."""
    return all(unicodedata.category(character) in NOT_SHOWN for character in text)
